import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import process from 'node:process';

// Runs every test that this host can run: unit tests and, for root, those that change the host, each file in a process
// of its own; then the end-to-end tests one after the other, because they measure and kill. `npm test -- PATTERN…`
// runs only files whose path contains one of the patterns.
const patterns = process.argv.slice(2);
const wanted = (file: string) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern));
const near = globSync(['services/*/src/**/*.test.ts', 'shared/*/src/**/*.test.ts', 'deploy/**/*.test.ts'], {
  exclude: ['**/node_modules/**'],
})
  .filter(wanted)
  .sort();
const far = globSync('e2e/**/*.test.ts', { exclude: ['**/node_modules/**'] })
  .filter(wanted)
  .sort();

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: tests that change the host, because only root may run them');
const env = { ...process.env, ...(isRoot ? { FLOTILLA_ROOT_TESTS: '1' } : {}) };

function run(name: string, files: readonly string[], concurrency: number): boolean {
  if (files.length === 0) return true;
  console.log(`\n== ${name}: ${files.length} files`);
  const args = [
    '--test',
    `--test-concurrency=${concurrency}`,
    '--test-timeout=300000',
    '--test-reporter=spec',
    ...files,
  ];
  return spawnSync(process.execPath, args, { stdio: 'inherit', env }).status === 0;
}

const results = [run('unit', near, 2), isRoot ? run('end to end', far, 1) : true];
if (near.length + far.length === 0) {
  console.error(`no test file matches ${patterns.join(' ')}`);
  process.exitCode = 1;
}
if (results.includes(false)) process.exitCode = 1;
