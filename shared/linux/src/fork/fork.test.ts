import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { covers } from './memory-maps.ts';

const run = promisify(execFile);
const flags = ['--single-threaded', '--v8-pool-size=0'];
const stress = fileURLToPath(new URL('./stress.ts', import.meta.url));
const forksOfEachKind = 1_000;

for (const kind of ['sync', 'async']) {
  test(`${forksOfEachKind} forked children that work ${kind}hronously all do their work`, {
    timeout: 120_000,
  }, async () => {
    const { stdout } = await run(process.execPath, [...flags, stress, kind, String(forksOfEachKind)]);
    const { ends, forks, replaced } = JSON.parse(stdout);
    assert.deepEqual(ends, { 42: forksOfEachKind });
    assert.equal(forks - replaced, forksOfEachKind);
  });
}

for (const [nodeFlags, works] of [
  [flags, true],
  [[], false],
] as const) {
  test(`the self-test ${works ? 'passes' : 'says what is wrong'} ${works ? 'with' : 'without'} the flags`, async () => {
    const url = JSON.stringify(new URL('./self-test.ts', import.meta.url));
    const script = `console.log(await (await import(${url})).selfTestFork())`;
    const { stdout } = await run(process.execPath, [...nodeFlags, '--input-type=module', '--eval', script]);
    if (works) assert.equal(stdout, 'undefined\n');
    else assert.match(stdout, /^V8 has \d+ helper threads: the flag --v8-pool-size=0 is missing$/m);
  });
}

for (const [name, had, wanted, expected] of [
  ['equal', [0, 10, 20, 30], [0, 10, 20, 30], true],
  ['split differently', [0, 5, 5, 10, 20, 30], [0, 10, 20, 25, 25, 30], true],
  ['more than wanted', [0, 100], [3, 5, 90, 100], true],
  ['missing at the end', [0, 10], [0, 10, 20, 30], false],
  ['missing in the middle', [0, 4, 6, 10], [0, 10], false],
  ['too short', [0, 9], [0, 10], false],
  ['missing at the start', [5, 10], [0, 10], false],
  ['nothing', [], [0, 1], false],
] as const) {
  test(`memory that is ${name} ${expected ? 'covers' : 'does not cover'} what is wanted`, () => {
    assert.equal(covers(Float64Array.from(had), Float64Array.from(wanted)), expected);
  });
}
