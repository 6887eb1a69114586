import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { type HostState, leftovers, readHostState } from './host-state.ts';
import { sweepKilledTests } from './test-folders.ts';

// Around a test run: `leftovers.ts before FILE` takes away what killed tests left and remembers what the host has;
// `leftovers.ts after FILE` counts what is there beyond that, names it, and fails when it is anything.
const [when, file] = process.argv.slice(2);
if (file === undefined || (when !== 'before' && when !== 'after')) throw new Error('usage: before FILE | after FILE');
if (when === 'before') {
  for (const folder of sweepKilledTests()) console.log(`swept what a killed test left: ${folder}`);
  writeFileSync(file, JSON.stringify(readHostState()));
} else {
  const left = leftovers(JSON.parse(readFileSync(file, 'utf8')) as HostState, readHostState());
  for (const text of left) console.log(`left behind: ${text}`);
  console.log(`left behind by the tests: ${left.length} processes, mounts, links, nft tables, cgroups and files`);
  if (left.length > 0) process.exitCode = 1;
}
