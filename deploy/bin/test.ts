import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { runTestFiles } from '../src/run-test-files.ts';
import { projectRoot } from '../src/services.ts';

// Runs every test that this host can run: unit tests and, for root, those that change the host and the end-to-end tests;
// each file in a process of its own, several at once: most of the time a test waits. Counts what is left on the host
// afterwards. `npm test -- PATTERN…` runs only files whose path contains one of the patterns.
process.chdir(projectRoot);
const startedAt = performance.now();
const patterns = process.argv.slice(2);
const find = (...globs: string[]) =>
  globSync(globs, { exclude: ['**/node_modules/**'] })
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .sort();
const near = find('services/*/src/**/*.test.ts', 'shared/*/src/**/*.test.ts', 'deploy/**/*.test.ts');
const far = find('e2e/**/*.test.ts');
/** It waits for packages and for an unpacker. */
const longest = 'e2e/images/debian.test.ts';
const isRoot = process.getuid?.() === 0;
/** The long ones first, so that one processor does not wait for the other at the end. */
const files = isRoot ? [...far.toSorted((a, b) => Number(b === longest) - Number(a === longest)), ...near] : near;
/** As many as can work: with one more, for the one that waits, the tests' own load failed one in a thousand. */
const concurrency = Math.min(availableParallelism(), 4);
const slowestShown = 10;
const folder = mkdtempSync(join(tmpdir(), 'npm-test-'));
// Most of what a process does that lives for a second is to strip types and to compile. The same as the engines' of tests.
const compileCache = join(projectRoot, '.cache/compile');
mkdirSync(compileCache, { recursive: true, mode: 0o700 });
const env = {
  ...process.env,
  NODE_COMPILE_CACHE: compileCache,
  ...(isRoot ? { FLOTILLA_ROOT_TESTS: '1' } : {}),
};

/** Looks at the host before and after: what is there afterwards that was not there before is a failure. */
function countLeftovers(when: 'before' | 'after'): boolean {
  const args = ['e2e/harness/leftovers.ts', when, join(folder, 'host.json')];
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status === 0;
}

async function testAll(): Promise<boolean> {
  if (near.length + far.length === 0) {
    console.error(`no test file matches ${patterns.join(' ')}`);
    return false;
  }
  if (isRoot && !countLeftovers('before')) return false;
  console.log(`\n== ${files.length} files, ${concurrency} at once`);
  const { passed, failed, seconds, ...ran } = await runTestFiles(files, { concurrency, env });
  const clean = isRoot ? countLeftovers('after') : true;
  const skipped = [...ran.skipped];
  if (!isRoot) skipped.push(...far.map((file) => `${file}: only root may run it`));
  if (patterns.length === 0)
    skipped.push('the engine on a pure cgroup v2 host: `npm run test:vm` boots one and runs it');
  const slowest = [...seconds].sort(([, a], [, b]) => b - a).slice(0, slowestShown);
  for (const [file, took] of slowest) console.log(`slow: ${took.toFixed(0).padStart(3)} s ${file}`);
  for (const text of skipped) console.log(`skipped: ${text}`);
  console.log(`took ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  return clean && failed === 0;
}

try {
  if (!(await testAll())) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
