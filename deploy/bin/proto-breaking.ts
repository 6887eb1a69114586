import { execFileSync, spawnSync } from 'node:child_process';
import process from 'node:process';

// `buf breaking` against the main branch: proto files only grow. On a clone without that branch (or on its first
// commit) the last commit that had the contracts is what is compared with.
function git(...args: string[]): string | undefined {
  const result = spawnSync('git', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return result.status === 0 ? result.stdout.toString().trim() : undefined;
}

const against = ['origin/main', 'main', 'HEAD'].find(
  (ref) => git('cat-file', '-e', `${ref}:proto/buf.yaml`) !== undefined,
);
if (against === undefined) {
  console.log('proto-breaking: no earlier contracts to compare with');
} else {
  const commit = git('rev-parse', against) ?? against;
  execFileSync('../node_modules/.bin/buf', ['breaking', '--against', `../.git#ref=${commit},subdir=proto`], {
    cwd: 'proto',
    stdio: 'inherit',
  });
  console.log(`proto-breaking: compatible with ${against}`);
}
process.exitCode ??= 0;
