import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { projectRoot } from '../src/services.ts';
import type { TestSummary } from '../src/summary-reporter.ts';

// Runs every test that this host can run: unit tests and, for root, those that change the host, each file in a process
// of its own; then the end-to-end tests one after the other, because they measure and kill. Counts what is left on the
// host afterwards. `npm test -- PATTERN…` runs only files whose path contains one of the patterns.
process.chdir(projectRoot);
const startedAt = performance.now();
const patterns = process.argv.slice(2);
const find = (...globs: string[]) =>
  globSync(globs, { exclude: ['**/node_modules/**'] })
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .sort();
const near = find('services/*/src/**/*.test.ts', 'shared/*/src/**/*.test.ts', 'deploy/**/*.test.ts');
const far = find('e2e/**/*.test.ts');
const isRoot = process.getuid?.() === 0;
const env = { ...process.env, ...(isRoot ? { FLOTILLA_ROOT_TESTS: '1' } : {}) };
const folder = mkdtempSync(join(tmpdir(), 'npm-test-'));

/** Runs test files; undefined when the runner itself died before it could say how it went. */
function run(name: string, files: readonly string[], concurrency: number): TestSummary | undefined {
  if (files.length === 0) return { passed: 0, failed: 0, skipped: [] };
  console.log(`\n== ${name}: ${files.length} files`);
  const summaryFile = join(folder, 'summary.json');
  const args = [
    '--test',
    `--test-concurrency=${concurrency}`,
    '--test-timeout=300000',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${projectRoot}/deploy/src/summary-reporter.ts`,
    `--test-reporter-destination=${summaryFile}`,
    ...files,
  ];
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', env });
  try {
    const summary = JSON.parse(readFileSync(summaryFile, 'utf8')) as TestSummary;
    return status !== 0 && summary.failed === 0 ? undefined : summary;
  } catch {
    return undefined;
  } finally {
    rmSync(summaryFile, { force: true });
  }
}

/** Looks at the host before and after: what is there afterwards that was not there before is a failure. */
function countLeftovers(when: 'before' | 'after'): boolean {
  const args = ['e2e/harness/leftovers.ts', when, join(folder, 'host.json')];
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status === 0;
}

function testAll(): boolean {
  if (near.length + far.length === 0) {
    console.error(`no test file matches ${patterns.join(' ')}`);
    return false;
  }
  if (isRoot && !countLeftovers('before')) return false;
  const summaries = [run('unit', near, 1), isRoot ? run('end to end', far, 1) : undefined];
  const clean = isRoot ? countLeftovers('after') : true;
  const known = summaries.filter((summary) => summary !== undefined);
  const skipped = known.flatMap((summary) => summary.skipped);
  if (!isRoot) skipped.push(...far.map((file) => `${file}: only root may run it`));
  if (patterns.length === 0) {
    skipped.push('the engine on a pure cgroup v2 host: `npm run test:vm` boots one and runs it');
    skipped.push(
      'power loss: `npm run test:power-loss` kills a machine in the middle of load, for ten minutes or more',
    );
  }
  for (const text of skipped) console.log(`skipped: ${text}`);
  const sum = (key: 'passed' | 'failed') => known.reduce((total, summary) => total + summary[key], 0);
  console.log(`took ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${skipped.length} skipped`);
  const ran = summaries.filter((_, i) => isRoot || i === 0);
  return clean && ran.every((summary) => summary !== undefined && summary.failed === 0);
}

try {
  if (!testAll()) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
