import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aConfig, anImage } from '../../testing/builders.ts';
import { durationText } from './duration-text.ts';
import { afterProbe, afterRun, type Health, pauseMs, startingHealth } from './health.ts';
import { type HealthCheck, healthCheckOf } from './health-check.ts';
import { ProbeOutput } from './probe-output.ts';

const check: HealthCheck = {
  command: ['true'],
  intervalMs: 30_000,
  timeoutMs: 30_000,
  retries: 2,
  startPeriodMs: 10_000,
  startIntervalMs: 1_000,
};

/** Checks one after the other, as `<seconds after the start>:<exit code>`. */
function run(probes: string, by: HealthCheck = check): Health {
  return probes.split(' ').reduce<Health>((health, text) => {
    const [seconds = '', exitCode] = text.split(':');
    const at = BigInt(seconds) * 1_000_000_000n;
    const probe = { startedAtUnixNano: at, endedAtUnixNano: at, exitCode: Number(exitCode), output: '' };
    return afterProbe(health, by, probe, 0n);
  }, startingHealth);
}

const courses: readonly (readonly [probes: string, status: Health['status'], streak: number])[] = [
  ['11:0', 'healthy', 0],
  ['11:1', 'starting', 1],
  ['11:1 12:1', 'unhealthy', 2],
  ['11:1 12:-1', 'unhealthy', 2],
  ['11:1 12:0', 'healthy', 0],
  ['11:0 12:1', 'healthy', 1],
  ['11:0 12:1 13:1', 'unhealthy', 2],
  ['11:0 12:1 13:1 14:1 15:0', 'healthy', 0],
  // Failures within the start period do not count...
  ['1:1 2:1 3:1', 'starting', 0],
  ['1:1 2:1 9:1 10:1', 'starting', 1],
  // ...until a check has passed.
  ['1:0 2:1 3:1', 'unhealthy', 2],
];
for (const [probes, status, failingStreak] of courses) {
  test(`checks ${probes} → ${status}, ${failingStreak} in a row`, () => {
    const health = run(probes);
    assert.deepEqual({ status: health.status, failingStreak: health.failingStreak }, { status, failingStreak });
  });
}

test('the last five checks are kept, oldest first', () => {
  const { probes } = run('11:1 12:2 13:3 14:4 15:5 16:6 17:7');
  assert.deepEqual(
    probes.map(({ exitCode }) => exitCode),
    [3, 4, 5, 6, 7],
  );
});

test('a container that does not run is unhealthy, one without a check is nothing', () => {
  assert.equal(afterRun(run('11:0'))?.status, 'unhealthy');
  assert.equal(afterRun(undefined), undefined);
});

test('the start interval holds while it is starting within the start period', () => {
  assert.equal(pauseMs(startingHealth, check, 9_999), 1_000);
  assert.equal(pauseMs(startingHealth, check, 10_000), 30_000);
  assert.equal(pauseMs(run('1:0'), check, 2_000), 30_000);
});

const seconds = (count: number) => BigInt(count) * 1_000_000_000n;

test("what the user gives stands over what the image gives, and that over Docker's defaults", () => {
  const image = anImage({
    healthcheck: { test: ['CMD', 'probe', '-x'], intervalNanos: seconds(7), retries: 9 },
  });
  const own = aConfig({ healthcheck: { intervalNanos: seconds(2), startPeriodNanos: 1_500_000n } });
  const common = { command: ['probe', '-x'], timeoutMs: 30_000, startIntervalMs: 5_000, retries: 9 };
  assert.deepEqual(healthCheckOf(own, image), { ...common, intervalMs: 2_000, startPeriodMs: 1.5 });
  assert.deepEqual(healthCheckOf(aConfig(), image), { ...common, intervalMs: 7_000, startPeriodMs: 0 });
  const bare = healthCheckOf(aConfig({ healthcheck: { test: ['CMD', 'x'] } }), anImage());
  assert.deepEqual(bare, { ...common, command: ['x'], intervalMs: 30_000, startPeriodMs: 0, retries: 3 });
});

test('a time limit that no timer takes is the longest that one takes', () => {
  const config = aConfig({ healthcheck: { test: ['CMD', 'x'], timeoutNanos: 2n ** 63n - 1n } });
  assert.equal(healthCheckOf(config, anImage())?.timeoutMs, 2 ** 31 - 1);
});

test("a line goes to the image's shell, or to /bin/sh", () => {
  const config = aConfig({ healthcheck: { test: ['CMD-SHELL', 'a | b'] } });
  assert.deepEqual(healthCheckOf(config, anImage())?.command, ['/bin/sh', '-c', 'a | b']);
  assert.deepEqual(healthCheckOf(config, anImage({ shell: ['/bin/ash', '-ec'] }))?.command, [
    '/bin/ash',
    '-ec',
    'a | b',
  ]);
});

for (const own of [undefined, ['NONE'], ['WHAT', 'ever'], ['CMD']]) {
  test(`nothing is checked with ${JSON.stringify(own)}`, () => {
    const image = anImage(own === undefined ? {} : { healthcheck: { test: ['CMD', 'true'] } });
    const config = aConfig(own === undefined ? {} : { healthcheck: { test: own } });
    assert.equal(healthCheckOf(config, image), undefined);
  });
}

test('of the output the first 4096 bytes are kept', () => {
  const short = new ProbeOutput();
  short.add(Buffer.from('a'));
  short.add(Buffer.alloc(4095, 'b'));
  assert.equal(short.text, `a${'b'.repeat(4095)}`);
  short.add(Buffer.from('c'));
  assert.equal(short.text, `a${'b'.repeat(4095)}...`);
});

test('durations are written as Go writes them', () => {
  const texts = [1, 500, 1_000, 1_500, 30_000, 90_000, 3_600_000, 3_661_500].map(durationText);
  assert.deepEqual(texts, ['1ms', '500ms', '1s', '1.5s', '30s', '1m30s', '1h0m0s', '1h1m1.5s']);
});
