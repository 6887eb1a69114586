import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aConfig, anImage } from '../testing/builders.ts';
import { type ContainerRecord, newContainer, noRestarts, type Restarts } from './container.ts';
import { restartsAfterExit, restartsAfterSignal, wantsStartAtBoot } from './restart-policy.ts';

const second = 1_000_000_000n;

interface Situation {
  readonly policy: string;
  readonly maximumRetries?: number;
  readonly restarts?: Partial<Restarts>;
  readonly stopSignal?: string;
}

function aRecord({ policy, maximumRetries = 0, restarts = {}, stopSignal = '' }: Situation): ContainerRecord {
  const config = aConfig({ restartPolicy: { name: policy, maximumRetries }, stopSignal });
  const fresh = newContainer({
    ...{ containerId: 'a'.repeat(64), name: 'one', config, createdAtUnixNano: 1n, idempotencyKey: '' },
    ...{ requestDigest: '', warnings: [], sandboxId: '' },
  });
  const made = { imageId: 'sha256:1', image: anImage(), args: [], mounts: [] };
  return { ...fresh, made, state: 'running', startedAtUnixNano: second, restarts: { ...noRestarts, ...restarts } };
}

const exits: readonly (readonly [Situation, exitCode: number, again: boolean])[] = [
  [{ policy: '' }, 1, false],
  [{ policy: 'no' }, 1, false],
  [{ policy: 'always' }, 0, true],
  [{ policy: 'always', restarts: { cancelled: true } }, 1, false],
  [{ policy: 'always', restarts: { stoppedByUser: true } }, 1, true],
  [{ policy: 'unless-stopped' }, 0, true],
  [{ policy: 'unless-stopped', restarts: { stoppedByUser: true } }, 1, false],
  [{ policy: 'on-failure' }, 0, false],
  [{ policy: 'on-failure' }, 1, true],
  [{ policy: 'on-failure', restarts: { count: 1_000 } }, 1, true],
  [{ policy: 'on-failure', maximumRetries: 3, restarts: { count: 2 } }, 1, true],
  [{ policy: 'on-failure', maximumRetries: 3, restarts: { count: 3 } }, 1, false],
];
for (const [situation, exitCode, again] of exits) {
  test(`${JSON.stringify(situation)}, exit code ${exitCode}: ${again ? 'started again' : 'left'}`, () => {
    const record = aRecord(situation);
    const after = restartsAfterExit(record, { exitCode, exitedAtUnixNano: 2n * second }, 5n);
    assert.equal(after.pending !== undefined, again);
    assert.equal(after.count, record.restarts.count + (again ? 1 : 0));
  });
}

const pauses: readonly (readonly [before: number, ranSeconds: bigint, pause: number])[] = [
  [0, 1n, 100],
  [100, 1n, 200],
  [25_600, 1n, 51_200],
  [51_200, 1n, 60_000],
  [60_000, 9n, 60_000],
  [60_000, 10n, 100],
];
for (const [pauseMs, ran, expected] of pauses) {
  test(`after a pause of ${pauseMs} ms and a run of ${ran} s it waits ${expected} ms`, () => {
    const record = aRecord({ policy: 'always', restarts: { pauseMs } });
    const after = restartsAfterExit(record, { exitCode: 1, exitedAtUnixNano: (ran + 1n) * second }, 0n);
    assert.deepEqual(after.pending, { dueAtUnixNano: BigInt(expected) * 1_000_000n, byUser: false });
    assert.equal(after.pauseMs, expected);
  });
}

test('a restart that a user asked for is due at once, whatever the policy', () => {
  const stop = { signal: 15, killAtUnixNano: undefined, killed: false, restart: true, announceStop: true };
  const record = { ...aRecord({ policy: 'no', restarts: { cancelled: true } }), stop };
  const after = restartsAfterExit(record, { exitCode: 0, exitedAtUnixNano: 2n * second }, 5n);
  assert.deepEqual(after, { ...noRestarts, pending: { dueAtUnixNano: 5n, byUser: true } });
});

const signals: readonly (readonly [stopSignal: string, signal: number, cancels: boolean])[] = [
  ['', 9, true],
  ['', 1, true],
  ['SIGQUIT', 9, true],
  ['SIGQUIT', 3, true],
  ['SIGQUIT', 1, false],
];
for (const [stopSignal, signal, cancels] of signals) {
  test(`signal ${signal} with the stop signal '${stopSignal}' ${cancels ? 'is a stop' : 'stops unless-stopped alone'}`, () => {
    const { cancelled, stoppedByUser } = restartsAfterSignal(aRecord({ policy: 'always', stopSignal }), signal);
    assert.deepEqual([cancelled, stoppedByUser], [cancels, true]);
  });
}

const boots: readonly (readonly [Situation, exitCode: number, starts: boolean])[] = [
  [{ policy: 'no' }, 255, false],
  [{ policy: 'always', restarts: { cancelled: true, stoppedByUser: true } }, 0, true],
  [{ policy: 'unless-stopped', restarts: { cancelled: true, stoppedByUser: true } }, 0, false],
  [{ policy: 'unless-stopped' }, 0, true],
  [{ policy: 'on-failure' }, 255, true],
  [{ policy: 'on-failure' }, 0, false],
  [{ policy: 'on-failure', maximumRetries: 1, restarts: { count: 1 } }, 255, false],
];
for (const [situation, exitCode, starts] of boots) {
  test(`at boot, ${JSON.stringify(situation)}, exit code ${exitCode}: ${starts ? 'started' : 'left'}`, () => {
    const record = { ...aRecord(situation), state: 'exited' as const, exitCode };
    assert.equal(wantsStartAtBoot(record), starts);
    assert.equal(wantsStartAtBoot({ ...record, startedAtUnixNano: 0n }), false, 'one that never ran');
  });
}
