import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { demoImage, Engine, type ServiceName } from '../harness/engine.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

/** Flags and command of `run`; what the error must say; the exit code. */
const refused: readonly (readonly [what: string, args: readonly string[], says: RegExp, code: number])[] = [
  ['an unknown image', ['--pull', 'never', 'no/such:image'], /no\/such:image/, 125],
  ['a reference that is none', ['Not A Reference'], /reference|image/i, 125],
  ['an unknown network', ['--network', 'nowhere', demoImage], /nowhere/, 125],
  ['an unknown capability', ['--cap-add', 'FLY', demoImage], /FLY/i, 125],
  ['an unknown signal', ['--stop-signal', 'SIGNOPE', demoImage], /SIGNOPE/, 125],
  ['memory that is no size', ['--memory', '10x', demoImage], /10x/, 125],
  ['too little memory', ['--memory', '1k', demoImage], /memory/i, 125],
  ['processors that are no number', ['--cpus', 'many', demoImage], /many/, 125],
  ['an unknown flag', ['--no-such-flag', demoImage], /no-such-flag/, 125],
  ['an unknown security option', ['--security-opt', 'magic=on', demoImage], /magic/, 125],
  ['a port that is none', ['--publish', '70000:80', demoImage], /70000/, 125],
  ['a relative mount target', ['--volume', '/tmp:not/absolute', demoImage], /absolute/, 125],
  [
    'a bind source that is missing',
    ['--mount', 'type=bind,source=/no/such/folder,target=/x', demoImage],
    /\/no\/such\/folder/,
    125,
  ],
  ['a user that is not there', ['--user', 'nobody-at-all', demoImage, 'true'], /nobody-at-all/, 125],
  [
    'a file of environment that is missing',
    ['--env-file', '/no/such.env', demoImage],
    /flotilla: .*no\/such[.]env/,
    125,
  ],
  ['a user number out of range', ['--user', '4294967296', demoImage, 'true'], /4294967296|user/, 125],
  ['an unknown ulimit', ['--ulimit', 'patience=1', demoImage], /patience/, 125],
  ['a name with a blank', ['--name', 'a b', demoImage], /name/, 125],
  ['a command that is not there', [demoImage, 'no-such-command'], /no-such-command/, 127],
  ['a command that may not be executed', [demoImage, '/www/index.html'], /index[.]html/, 126],
  ['a command that is a folder', [demoImage, '/www'], /www/, 126],
  ['a working folder that is a file', ['--workdir', '/www/index.html', demoImage, 'true'], /index[.]html/, 125],
];

for (const [what, args, says, code] of refused) {
  test(`run refuses ${what}, and leaves nothing`, async () => {
    const before = await engine.containerIds();
    const run = await engine.flotilla(['run', '--rm', ...args]);
    assert.match(run.stderr, says);
    assert.equal(run.code, code, run.stderr);
    assert.deepEqual(await engine.containerIds(), before);
  });
}

test('a name that is taken', async () => {
  const id = await engine.ok('create', '--name', 'taken', demoImage);
  const second = await engine.flotilla(['run', '--name', 'taken', demoImage]);
  assert.equal(second.code, 125);
  assert.match(second.stderr, /taken/);
  assert.deepEqual(await engine.containerIds(), [id]);
  await engine.ok('rm', 'taken');
});

test('a port that a program of the host uses', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const run = await engine.flotilla(['run', '--rm', '--publish', `127.0.0.1:${port}:80`, demoImage, 'true']);
  server.close();
  assert.equal(run.code, 125, run.stderr);
  assert.match(run.stderr, new RegExp(String(port)));
  assert.deepEqual(await engine.containerIds(), []);
});

test('a port that another container publishes', async () => {
  const id = await engine.ok('run', '--detach', '--publish', '127.0.0.1::80', demoImage, 'sleep', '600');
  const port = (await engine.ok('port', id, '80').catch(() => engine.ok('ps', '--format', '{{.Ports}}'))).match(
    /127[.]0[.]0[.]1:(\d+)/,
  )?.[1];
  assert.ok(port !== undefined);
  const run = await engine.flotilla(['run', '--rm', '--publish', `127.0.0.1:${port}:80`, demoImage, 'true']);
  assert.equal(run.code, 125, run.stderr);
  assert.match(run.stderr, new RegExp(port));
  await engine.ok('rm', '--force', id);
});

test('an unknown container', async () => {
  for (const verb of ['start', 'stop', 'kill', 'rm', 'logs', 'inspect', 'wait']) {
    const answer = await engine.flotilla([verb, 'nobody']);
    assert.equal(answer.code, 1, verb);
    assert.match(answer.stderr, /nobody/);
  }
});

test('too few or too many arguments: exit code 1; a flag that is wrong: 125; rm --force of what is gone: no failure', async () => {
  for (const args of [
    ['run'],
    ['exec', 'one'],
    ['stop'],
    ['rename', 'one'],
    ['logs', 'one', 'two'],
    ['no-such-verb'],
  ]) {
    assert.equal((await engine.flotilla(args)).code, 1, args.join(' '));
  }
  for (const args of [
    ['stop', '--no-such-flag', 'one'],
    ['exec', '--env', '=x', 'one', 'true'],
    ['exec', '--env-file', '/no/such.env', 'one', 'true'],
  ]) {
    assert.equal((await engine.flotilla(args)).code, 125, args.join(' '));
  }
  const removed = await engine.flotilla(['rm', '--force', 'nobody']);
  assert.equal(removed.code, 0);
  assert.match(removed.stderr, /no such container: nobody/);
});

test('an unknown signal to a running container', async () => {
  const id = await engine.ok('run', '--detach', demoImage, 'sleep', '600');
  const answer = await engine.flotilla(['kill', '--signal', 'NOPE', id]);
  assert.equal(answer.code, 1);
  assert.match(answer.stderr, /NOPE/);
  assert.equal((await engine.status(id)).state, 'running');
  await engine.ok('rm', '--force', id);
});

/** What hangs at once, and what is asked meanwhile: all together, because each takes the whole deadline. */
const hanging: readonly (readonly (readonly [ServiceName, readonly string[]])[])[] = [
  [
    ['image', ['images']],
    ['image', ['run', '--rm', demoImage, 'true']],
    ['network', ['network', 'ls']],
  ],
  [['supervisor', ['ps']]],
  [['api', ['ps']]],
];
for (const asks of hanging) {
  const services = [...new Set(asks.map(([service]) => service))];
  const what = asks.map(([, args]) => args.join(' ')).join(', ');
  test(`${what} while ${services.join(' and ')} hang: an error within the deadline that names who does`, async () => {
    const pids = services.map((service) => engine.pid(service) ?? 0);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await Promise.all(
        asks.map(async ([service, args]) => {
          const startedAt = performance.now();
          const answer = await engine.flotilla(args, { timeoutMs: 30_000 });
          assert.notEqual(answer.code, 0, answer.stdout);
          assert.match(answer.stderr, new RegExp(`\\b${service}\\b`), args.join(' '));
          assert.ok(performance.now() - startedAt < 25_000, args.join(' '));
        }),
      );
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    await engine.healthy();
  });
}
