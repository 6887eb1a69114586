import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { makeFiles } from './files.ts';
import { boot } from './machine.ts';

// Boots a machine whose only cgroup hierarchy is v2, as most hosts have it, brings the whole engine up in it and runs the
// tests of limits there.
const limitMs = 8 * 60_000;
/** Files of e2e/ that run inside; more can be named on the command line. */
const tests = process.argv.length > 2 ? process.argv.slice(2) : ['e2e/cli/limits.test.ts'];

const startedAt = performance.now();
const say = (text: string) => console.log(`vm: ${text} (${((performance.now() - startedAt) / 1000).toFixed(0)} s)`);

const folder = mkdtempSync(join(tmpdir(), 'flotilla-vm-'));
try {
  const files = await makeFiles(folder, say);
  let verdict: string | undefined;
  const onLine = (line: string): void => {
    console.log(line);
    verdict = line.match(/VM RESULT: (passed|failed)/)?.[1] ?? verdict;
  };
  const machine = boot({ ...files, job: 'run-tests', settings: { VM_TESTS: tests.join(' ') }, onLine, limitMs });
  if ((await machine.off) === 'killed') say(`the machine was stopped after ${limitMs / 60_000} minutes`);
  say(`tests on a pure cgroup v2 host: ${verdict ?? 'no verdict'}`);
  if (verdict !== 'passed') process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
