import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { storedEvents } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

/** A client that runs beside the test. */
class Client implements Disposable {
  stdout = '';
  stderr = '';
  readonly closed: Promise<unknown>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;

  constructor(...args: readonly string[]) {
    const [program = '', ...rest] = engine.commandWords(...args);
    this.#child = spawn(program, rest, { env: engine.env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout.on('data', (data: Buffer) => {
      this.stdout += data.toString('latin1');
    });
    this.#child.stderr.on('data', (data: Buffer) => {
      this.stderr += data.toString('latin1');
    });
    this.#child.stdin.on('error', () => {});
    this.closed = once(this.#child, 'close');
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  endInput(): void {
    this.#child.stdin.end();
  }

  kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  async sees(text: string): Promise<void> {
    const ended = () => this.#child.exitCode !== null && !this.stdout.includes(text);
    await waitFor(`${JSON.stringify(text)} in a client's output`, () => this.stdout.includes(text) || ended(), 60_000);
    assert.ok(this.stdout.includes(text), `${this.stdout.slice(-500)}\n${this.stderr}`);
  }

  /** The exit code, once it has ended. */
  async code(): Promise<number | null> {
    await this.closed;
    return this.#child.exitCode;
  }

  [Symbol.dispose](): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
  }
}

/** Says numbered lines on both streams until the file /stop is there, then `end N` of each, and ends with 7. */
const script = [
  'i=0; while [ ! -e /stop/now ]; do',
  'for j in 1 2 3 4 5 6 7 8 9 10; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); done',
  'sleep 0.01; done; echo "end $i"; exit 7',
].join('\n');

/** Every number from the first to the last, once. */
function assertNumbered(text: string, word: string, from?: number): void {
  const lines = text.split(/\r?\n/).filter((line) => line.startsWith(word));
  const first = from ?? Number(/ (\d+)$/.exec(lines[0] ?? '')?.[1]);
  const wrong = lines.findIndex((line, index) => line !== `${word} ${first + index}`);
  assert.equal(wrong, -1, `${word}: ${lines.slice(Math.max(wrong - 2, 0), wrong + 3).join(' | ')}`);
  assert.ok(lines.length > 100, `${lines.length} lines`);
}

async function killShim(container: string): Promise<void> {
  const { shimPid } = await engine.status(container);
  process.kill(shimPid, 'SIGKILL');
  await waitFor('another shim has taken over', async () => {
    const now = (await engine.status(container)).shimPid;
    return now !== 0 && now !== shimPid;
  });
}

test('attached clients and followers get every byte once while their shim, the api and the supervisor are killed', async () => {
  const stop = join(engine.folders.folder, 'stop');
  mkdirSync(stop);
  const flags = ['--network', 'none', '-v', `${stop}:/stop`];
  using plain = new Client('run', '--name', 'plain', ...flags, demoImage, 'sh', '-c', script);
  using terminal = new Client('run', '-t', '--name', 'terminal', ...flags, demoImage, 'sh', '-c', script);
  await plain.sees('out 50\n');
  await terminal.sees('out 50\r\n');
  using attached = new Client('attach', 'plain');
  await attached.sees('out ');
  using logs = new Client('logs', '--follow', 'plain');
  using waiting = new Client('wait', 'plain');
  using events = new Client('events', '--filter', 'container=plain', '--format', '{{.action}}');
  await logs.sees('out 50\n');
  const clients = [plain, terminal, attached, logs];
  const goOn = async () => {
    const before = clients.map(({ stdout }) => stdout.length);
    await waitFor(
      'the output goes on',
      () => clients.every(({ stdout }, i) => stdout.length > before[i]! + 2_000),
      60_000,
    );
  };
  await engine.killAndAwait('api');
  await goOn();
  await Promise.all([killShim('plain'), killShim('terminal')]);
  await goOn();
  await Promise.all([killShim('plain'), engine.killAndAwait('api', 'supervisor')]);
  await goOn();
  writeFileSync(join(stop, 'now'), '');
  for (const client of [plain, terminal, attached]) assert.equal(await client.code(), 7, client.stderr);
  assert.equal(await logs.code(), 0);
  assert.equal(await waiting.code(), 0, waiting.stderr);
  assert.equal(waiting.stdout, '7\n');
  await events.sees('die\n');
  assertNumbered(plain.stdout, 'out', 0);
  assertNumbered(plain.stderr, 'err', 0);
  assertNumbered(logs.stdout, 'out', 0);
  assertNumbered(logs.stderr, 'err', 0);
  assertNumbered(terminal.stdout, 'out', 0);
  assertNumbered(terminal.stdout, 'err', 0);
  assertNumbered(attached.stdout, 'out');
  assertNumbered(attached.stderr, 'err');
  for (const { stdout } of clients) assert.match(stdout, /end \d+\r?\n$/);
  rmSync(stop, { recursive: true });
});

test('an exec goes on over the death of the api and an upgrade of its shim, and ends clearly with the death of its shim', async () => {
  await engine.ok('run', '-d', '--name', 'host', '--network', 'none', demoImage, 'sleep', '600');
  using session = new Client('exec', '-i', 'host', 'cat');
  session.type('one\n');
  await session.sees('one\n');
  await engine.killAndAwait('api');
  session.type('two\n');
  await session.sees('two\n');
  await engine.ok('service', 'upgrade', 'shim', 'host');
  session.type('after the upgrade\n');
  await session.sees('after the upgrade\n');
  session.endInput();
  assert.equal(await session.code(), 0, session.stderr);
  using lost = new Client('exec', '-i', 'host', 'cat');
  lost.type('three\n');
  await lost.sees('three\n');
  await killShim('host');
  assert.equal(await lost.code(), 137);
  assert.match(lost.stderr, /exec [0-9a-f]{64} has lost its streams: the shim .* was killed/);
});

test('input goes on over the death of the api; it ends when its one client goes for good', async () => {
  using first = new Client('run', '-i', '--name', 'once', '--network', 'none', demoImage, 'cat');
  first.type('one\n');
  await first.sees('one\n');
  using second = new Client('attach', '--no-stdin', 'once');
  await waitFor('both are attached', async () => {
    const events = (await storedEvents(engine)).filter(({ action }) => action === 'attach');
    return events.filter(({ attributes }) => attributes?.name === 'once').length === 2;
  });
  await engine.killAndAwait('api');
  first.type('two\n');
  await first.sees('two\n');
  await second.sees('two\n');
  first.kill();
  assert.equal(await second.code(), 0, second.stderr);
  assert.equal((await engine.status('once')).state, 'exited');
});

test('input of a container that was started in the background stays open when a client comes to the end of its own', async () => {
  const script = 'while read -r line; do echo "got $line"; done; echo end';
  await engine.ok('run', '-di', '--name', 'console', '--network', 'none', demoImage, 'sh', '-c', script);
  for (const line of ['one', 'two']) {
    using client = new Client('attach', 'console');
    client.type(`${line}\n`);
    client.endInput();
    await client.sees(`got ${line}\n`);
  }
  using last = new Client('attach', 'console');
  last.type('three\n');
  await last.sees('got three\n');
  assert.equal(await engine.ok('logs', 'console'), 'got one\ngot two\ngot three');
  await engine.ok('rm', '--force', 'console');
});

test('-i attaches standard input whatever --attach says; a signal goes to a container with a terminal, too', async () => {
  const args = ['run', '--rm', '-a', 'stdout', '-i', '--network', 'none', demoImage, 'cat'];
  assert.equal((await engine.flotilla(args, { input: 'hello\n' })).stdout, 'hello\n');
  const script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
  using client = new Client('run', '-t', '--rm', '--network', 'none', demoImage, 'sh', '-c', script);
  await client.sees('ready');
  client.kill('SIGTERM');
  assert.equal(await client.code(), 5, client.stderr);
});

test('run --rm that ends while the api is away has its last output, and is removed', async () => {
  const stop = join(engine.folders.folder, 'stop');
  mkdirSync(stop, { recursive: true });
  rmSync(join(stop, 'now'), { force: true });
  const script = 'echo ready; while [ ! -e /stop/now ]; do sleep 0.01; done; seq 1 1000; exit 7';
  const args = ['--rm', '--name', 'passing', '--network', 'none', '-v', `${stop}:/stop`];
  using client = new Client('run', ...args, demoImage, 'sh', '-c', script);
  await client.sees('ready\n');
  await engine.killAndAwait('api'); // it has come back once before
  const killed = engine.killAndAwait('api');
  writeFileSync(join(stop, 'now'), '');
  await killed;
  assert.equal(await client.code(), 7, client.stderr);
  const numbers = Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`).join('');
  assert.equal(client.stdout, `ready\n${numbers}`);
  assert.ok(!(await engine.ok('ps', '--all', '--format', '{{.Names}}')).split('\n').includes('passing'));
  rmSync(stop, { recursive: true });
});

test('no byte of input is lost or sent twice while the shim is upgraded', async () => {
  const script = 'while read -r line; do echo "$line"; done; echo end';
  using client = new Client('run', '-i', '--name', 'fed', '--network', 'none', demoImage, 'sh', '-c', script);
  const numbers = Array.from({ length: 200_000 }, (_, i) => `${i}\n`).join('');
  client.type(numbers);
  for (const seen of ['\n3000\n', '\n60000\n']) {
    await client.sees(seen);
    await engine.ok('service', 'upgrade', 'shim', 'fed');
  }
  client.endInput();
  assert.equal(await client.code(), 0, client.stderr);
  const lines = client.stdout.split('\n');
  const wrong = lines.findIndex((line, i) => line !== String(i));
  const near = lines.slice(Math.max(wrong - 2, 0), wrong + 3).join(' ');
  assert.ok(client.stdout === `${numbers}end\n`, `${lines.length} lines, wrong from ${wrong} on: ${near}`);
});
