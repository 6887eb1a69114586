import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { demoImage, Engine } from '../harness/engine.ts';
import { Journald, Rsyslogd, whyNoLogDaemons } from '../harness/log-daemons.ts';
import { waitFor } from '../harness/wait.ts';

const whyNot = whyNoLogDaemons();
let engine: Engine;
let journald: Journald | undefined;
let rsyslogd: Rsyslogd | undefined;

before(async () => {
  if (whyNot === undefined) [journald, rsyslogd] = await Promise.all([Journald.start(), Rsyslogd.start()]);
  engine = await Engine.start(journald === undefined ? {} : { FLOTILLA_JOURNAL_SOCKET: journald.socketPath });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await Promise.all([journald?.[Symbol.asyncDispose](), rsyslogd?.[Symbol.asyncDispose]()]);
});

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);
const numbersIn = (text: string) => text.split('\n').filter(Boolean).map(Number);

/** Runs a script detached; its id. */
function run(driver: string, options: readonly string[], script: string, ...more: string[]): Promise<string> {
  const logOptions = options.flatMap((option) => ['--log-opt', option]);
  const args = ['--detach', '--log-driver', driver, ...logOptions, ...more, demoImage, 'sh', '-c', script];
  return engine.ok('run', ...args);
}

/** How many entries there are, once there come no more. */
async function settled(entries: () => Promise<readonly unknown[]>): Promise<number> {
  for (let before = -1; ; ) {
    const { length } = await entries();
    if (length === before) return length;
    before = length;
    await sleep(200);
  }
}

function shimPid(id: string): number {
  return JSON.parse(readFileSync(join(engine.folders.run, 'shims', id, 'shim.json'), 'utf8')).pid;
}

test('local: everything, the last lines, and following across rotations', async () => {
  const id = await run('local', ['max-size=8k', 'max-file=50'], 'read x; seq 0 29999', '--interactive');
  const [command = '', ...args] = engine.commandWords('logs', '--follow', id);
  const follower = spawn(command, args, { env: engine.env, stdio: ['ignore', 'pipe', 'inherit'] });
  let followed = '';
  follower.stdout.on('data', (chunk: Buffer) => {
    followed += chunk.toString();
  });
  await engine.flotilla(['attach', id], { input: 'go\n' });
  assert.equal(await engine.ok('wait', id), '0');
  await waitFor('the follower ends', () => follower.exitCode !== null);
  assert.deepEqual(numbersIn(followed), numbers(0, 30_000));
  assert.deepEqual(numbersIn(await engine.ok('logs', id)), numbers(0, 30_000));
  for (const tail of [1, 1_500]) {
    assert.deepEqual(numbersIn(await engine.ok('logs', '--tail', String(tail), id)), numbers(30_000 - tail, 30_000));
  }
  const folder = join(engine.folders.root, 'containers', id);
  assert.ok(statSync(join(folder, 'local.log.1')).size < 32_000);
});

test('json-file: labels, variables and a tag stand in each record, `logs --details` shows them; bad options are refused by name', async () => {
  const options = ['labels=a,b', 'labels-regex=^org[.]', 'env=COLOUR', 'env-regex=^N', 'tag={{.Name}}'];
  const labels = ['--label', 'a=1', '--label', 'org.x=y & z'];
  const variables = ['--env', 'COLOUR=red', '--env', 'N1=2'];
  const id = await run('json-file', options, 'echo hi', ...labels, ...variables, '--name', 'tagged');
  await engine.ok('wait', id);
  const [line = ''] = readFileSync(join(engine.folders.root, 'containers', id, `${id}-json.log`), 'utf8').split('\n');
  assert.deepEqual(JSON.parse(line).attrs, { a: '1', 'org.x': 'y & z', COLOUR: 'red', N1: '2', tag: 'tagged' });
  const details = 'COLOUR=red,N1=2,a=1,org.x=y+%26+z,tag=tagged hi';
  assert.equal(await engine.ok('logs', '--details', id), details);
  assert.match(await engine.ok('logs', '--details', '--timestamps', id), /^[-\dT:.]+Z COLOUR=red,/);
  const refused = await engine.flotilla(['create', '--log-driver', 'local', '--log-opt', 'tag=x', demoImage]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /log\.options/);
});

test('none and syslog cannot be read, and say so', async () => {
  const id = await run('none', [], 'echo hi');
  const read = await engine.flotilla(['logs', id]);
  assert.notEqual(read.code, 0);
  assert.match(read.stderr, /configured logging driver does not support reading \(none\)/);
});

test('a start with a log daemon that is not there says so', async () => {
  const address = `syslog-address=unix://${engine.folders.folder}/no-such.sock`;
  const refused = await engine.flotilla(['run', '--rm', '--log-driver', 'syslog', '--log-opt', address, demoImage]);
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /log driver syslog: no daemon listens at .*no-such[.]sock/);
});

describe('with the daemons', { skip: whyNot ?? false }, () => {
  test('syslog: each line once, with priority and tag', async () => {
    const address = `syslog-address=unix://${rsyslogd!.socketPath}`;
    const options = [address, 'syslog-facility=local3', 'tag={{.Name}}'];
    const id = await run('syslog', options, 'seq 0 1999; echo oops >&2', '--name', 'talker');
    assert.equal(await engine.ok('wait', id), '0');
    const lines = await waitFor('rsyslogd has it all', () => {
      const all = rsyslogd!.lines();
      return all.length >= 2_001 && all;
    });
    const out = lines.filter((line) => line.startsWith('158 talker ')).map((line) => Number(line.split(/ +/)[2]));
    assert.deepEqual(out, numbers(0, 2_000));
    assert.deepEqual(
      lines.filter((line) => line.startsWith('155 ')).map((line) => line.replace(/ +/g, ' ')),
      ['155 talker oops'],
    );
  });

  test('journald: Docker’s fields; a shim that is killed and a daemon that is restarted lose nothing', async () => {
    const script = 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); usleep 1500; done; echo err >&2';
    const id = await run('journald', ['labels=role'], script, '--label', 'role=test', '--name', 'journaled');
    const entries = () => journald!.entries(`CONTAINER_ID_FULL=${id}`);
    await waitFor('the first entries', async () => (await entries()).length > 50);
    process.kill(shimPid(id), 'SIGKILL');
    await waitFor('more of them', async () => (await entries()).length > 500);
    // What lies in the socket of a daemon that is killed is lost with it, unless systemd holds the socket: let it read.
    await engine.ok('pause', id);
    await settled(entries);
    await journald!.restart();
    await engine.ok('unpause', id);
    assert.equal(await engine.ok('wait', id), '0');
    const all = await waitFor('the last entry', async () => {
      const found = await entries();
      return found.some(({ MESSAGE }) => MESSAGE === 'err') && found;
    });
    const byOrdinal = new Map(all.map((entry) => [Number(entry.CONTAINER_LOG_ORDINAL), entry]));
    const text = numbers(0, 3_001).map((n) => byOrdinal.get(n)?.MESSAGE);
    assert.deepEqual(text, [...numbers(0, 3_000).map((n) => `line ${n}`), 'err']);
    const { CONTAINER_NAME, IMAGE_NAME, PRIORITY, ROLE } = byOrdinal.get(0)!;
    assert.deepEqual([CONTAINER_NAME, IMAGE_NAME, PRIORITY, ROLE], ['journaled', demoImage, '6', 'test']);
    assert.equal(byOrdinal.get(3_000)?.PRIORITY, '3');
    assert.match((await engine.flotilla(['logs', id])).stderr, /does not support reading \(journald\)/);
  });

  test('a daemon that hangs: non-blocking goes on and notes what was dropped, blocking waits and can be removed', async () => {
    journald!.signal('SIGSTOP');
    // Lines of 100 bytes.
    const script = `seq 1000000 1049999 | sed 's/$/${'x'.repeat(92)}/'; touch /done; sleep 60`;
    const free = await run('journald', ['mode=non-blocking'], script);
    const bound = await run('journald', [], script);
    const isDone = async (id: string) => (await engine.flotilla(['exec', id, 'test', '-e', '/done'])).code === 0;
    await waitFor('the one that does not wait is done', () => isDone(free));
    assert.equal(await isDone(bound), false);
    await engine.ok('rm', '--force', bound);
    journald!.signal('SIGCONT');
    const messages = await waitFor('what was kept', async () => {
      const found = await journald!.messages(`CONTAINER_ID_FULL=${free}`);
      return found.at(-1)?.startsWith('1049999') && found;
    });
    const dropped = messages.map((text) =>
      Number(/^\[flotilla: (\d+) bytes of output were dropped/.exec(text)?.[1] ?? 0),
    );
    const droppedLines = dropped.reduce((sum, one) => sum + one, 0) / 100;
    assert.ok(droppedLines > 0);
    assert.equal(droppedLines + dropped.filter((one) => one === 0).length, 50_000);
    await engine.ok('rm', '--force', free);
  });
});
