import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runChaos } from './chaos.ts';
import { faultKinds, isOfDisk, planFaults, victims } from './faults.ts';
import { wrongNumbers } from './lasting-containers.ts';
import { pullProblem } from './pull-images.ts';
import { SmallDisk } from './small-disk.ts';

const kinds = faultKinds.filter((kind) => !isOfDisk(kind) || SmallDisk.problem(kind) === undefined);
const plan = { seed: 3, durationMs: 15_000, rate: 1, kinds, victims } as const;

/** What this host cannot do. */
function notDoneHere(): readonly string[] {
  const disk = faultKinds.map((kind) => [kind, isOfDisk(kind) ? SmallDisk.problem(kind) : undefined]);
  return [...disk, ['pulls', pullProblem()]].filter(([, why]) => why !== undefined).map((words) => words.join(': '));
}

test('a seed alone decides what happens when', () => {
  assert.deepEqual(planFaults(plan), planFaults(plan));
  assert.notDeepEqual(planFaults(plan), planFaults({ ...plan, seed: 4 }));
});

test('a gap, a double and silence in numbered output are found', () => {
  assert.deepEqual(wrongNumbers('o 0\no 1\r\no 2\n', 'o'), []);
  for (const text of ['', 'o 0\no 2\n', 'o 0\no 1\no 1\n', 'o 1\no 2\n'])
    assert.equal(wrongNumbers(text, 'o').length, 1);
});

test('fifteen seconds of faults in all processes and in the disk: nothing is lost, doubled, forgotten or left behind', async (t) => {
  for (const text of notDoneHere()) t.diagnostic(`not done here: ${text}`);
  const { violations, faults } = await runChaos({ ...plan, containers: 8, clients: 2 });
  assert.ok(faults.size > 0, 'nothing was broken');
  assert.deepEqual(violations, []);
});
