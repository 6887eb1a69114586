import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

interface StatsRow {
  readonly Name: string;
  readonly CPUPerc: string;
  readonly MemUsage: string;
  readonly NetIO: string;
  readonly PIDs: string;
}

async function stats(...args: string[]): Promise<readonly StatsRow[]> {
  const text = await engine.ok('stats', '--no-stream', '--format', 'json', ...args);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as StatsRow);
}

test('top shows the processes of the container alone, with the columns that ps is asked for', async () => {
  const id = await engine.ok('run', '--detach', demoImage, 'sh', '-c', 'sleep 601 & sleep 602 & wait');
  const other = await engine.ok('run', '--detach', demoImage, 'sleep', '603');
  const { initPid } = await engine.status(id);
  // A child that has not come to its program yet has the name of the shell.
  const found = await waitFor('both children have come to their programs', async () => {
    const lines = (await engine.ok('top', id)).split('\n');
    return lines.filter((line) => /sleep 60[12]$/.test(line)).length === 2 && lines;
  });
  assert.equal(found.length, 4);
  assert.match(found[0] ?? '', /^UID +PID +PPID +C +STIME +TTY +TIME +CMD$/);
  assert.ok(found.some((line) => line.split(/\s+/)[1] === String(initPid)));
  assert.deepEqual(
    found.filter((line) => /sleep 60[123]$/.test(line)).map((line) => line.slice(-3)),
    ['601', '602'],
  );
  const chosen = (await engine.ok('top', id, '-o', 'pid,comm')).split('\n');
  assert.deepEqual(chosen[0]?.split(/\s+/), ['PID', 'COMMAND']);
  assert.equal(chosen.length, 4);

  for (const args of [['-o', 'comm'], ['-o', 'uid=PID,comm'], ['--what']]) {
    const refused = await engine.flotilla(['top', id, ...args]);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /ps_args/, args.join(' '));
  }
  assert.equal((await actionsOf(engine, id, 'top')).at(-1), 'top');
  await engine.ok('rm', '--force', id, other);
  const gone = await engine.flotilla(['top', id]);
  assert.match(gone.stderr, /no such container/i);
});

test('top and stats answer while the shim is stuck, and while the container is frozen', async () => {
  const id = await engine.ok('run', '--detach', '--name', 'stuck', demoImage, 'sleep', '600');
  const { shimPid } = await engine.status(id);
  await engine.ok('pause', id);
  process.kill(shimPid, 'SIGSTOP');
  try {
    assert.match(await engine.ok('top', id), /sleep 600/);
    const [row] = await stats(id);
    assert.equal(row?.PIDs, '1');
    assert.equal(row?.CPUPerc, '0.00%');
  } finally {
    process.kill(shimPid, 'SIGCONT');
  }
  await engine.ok('unpause', id);
  await engine.ok('rm', '--force', id);
});

test('stats says what the cgroup and the links say', async () => {
  const busy = ['--name', 'busy', '--cpus', '0.5', '--memory', '64m'];
  const id = await engine.ok('run', '--detach', ...busy, demoImage, 'sh', '-c', 'while :; do :; done');
  await engine.ok('create', '--name', 'idle', demoImage, 'true');
  const { initPid } = await engine.status(id);
  const row = await waitFor('half a processor, or what a busy host leaves of it', async () => {
    const [first, ...none] = await stats();
    assert.deepEqual(none, []);
    assert.equal(first?.Name, 'busy', `of ${JSON.stringify(first)}`);
    const percent = Number.parseFloat(first.CPUPerc);
    return percent > 5 && percent < 75 && first;
  });
  assert.match(row.MemUsage, / \/ 64MiB$/);
  assert.equal(row.PIDs, '1', JSON.stringify(row));
  const eth0 = /eth0: *(\d+)/.exec(readFileSync(`/proc/${initPid}/net/dev`, 'utf8'))?.[1];
  assert.ok(Number(eth0) >= Number.parseFloat(row.NetIO), `${eth0} and ${row.NetIO}`);
  const all = await stats('--all');
  assert.deepEqual(all.map(({ Name }) => Name).sort(), ['busy', 'idle']);
  assert.equal(all.find(({ Name }) => Name === 'idle')?.CPUPerc, '--');
  await engine.ok('rm', '--force', 'busy', 'idle');
});

test('a live view sees containers come and go, over a restart of the supervisor', async () => {
  const [command = '', ...args] = engine.commandWords('stats', '--format', '{{.Name}} {{.PIDs}}');
  const client = spawn(command, args, { env: engine.env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  client.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const sees = (name: string) => waitFor(`${name} is seen`, () => text.includes(`${name} 1\n`), 60_000);
  try {
    await engine.ok('run', '--detach', '--name', 'first', demoImage, 'sleep', '600');
    await sees('first');
    await engine.killAndAwait('supervisor');
    await engine.ok('run', '--detach', '--name', 'second', demoImage, 'sleep', '600');
    await sees('second');
    await engine.ok('rm', '--force', 'first');
    await waitFor('the first is seen no more', () => text.endsWith('\nsecond 1\nsecond 1\n'), 60_000);
  } finally {
    client.kill('SIGKILL');
    await once(client, 'close');
  }
  await engine.ok('rm', '--force', 'second');
});

test('port shows what is published, and says so when a port is not', async () => {
  await engine.ok('run', '--detach', '--name', 'web', '--publish', '127.0.0.1::8080', demoImage, 'sleep', '600');
  assert.match(await engine.ok('port', 'web'), /^8080\/tcp -> 127\.0\.0\.1:\d+$/);
  assert.match(await engine.ok('port', 'web', '8080'), /^127\.0\.0\.1:\d+$/);
  const refused = await engine.flotilla(['port', 'web', '81']);
  assert.match(refused.stderr, /no public port '81\/tcp' published for web/);
  await engine.ok('rm', '--force', 'web');
});
