import { execFileSync, spawnSync } from 'node:child_process';
import process from 'node:process';

// `buf breaking` against the last release (its tag), whose processes work together with this one's: proto files only grow.
// Without a tag against the main branch, and on a clone without that (or on its first commit) against the last commit that
// had the contracts.
function git(...args: string[]): string | undefined {
  const result = spawnSync('git', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return result.status === 0 ? result.stdout.toString().trim() : undefined;
}

const lastRelease = git('describe', '--tags', '--abbrev=0', '--match', 'v[0-9]*');
const against = [lastRelease, 'origin/main', 'main', 'HEAD'].find(
  (ref) => ref !== undefined && git('cat-file', '-e', `${ref}:proto/buf.yaml`) !== undefined,
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
