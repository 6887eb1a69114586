import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  getTerminalSize,
  isErrno,
  openTerminalMaster,
  openTerminalPeer,
  readFd,
  setNonBlocking,
  setRawMode,
} from '@flotilla/linux';
import { Ledger } from '../output/ledger.ts';
import { RecordedOutput } from '../output/recorded-output.ts';
import { CollectingDriver } from '../testing/collecting-driver.ts';
import type { OutputClient } from './output-client.ts';
import { ProcessStreams } from './process-streams.ts';
import { makePipes } from './stdio.ts';

const both = new Set(['stdout', 'stderr'] as const);
const folders: string[] = [];
after(() => {
  for (const dir of folders) rmSync(dir, { recursive: true });
});
const owner = { uid: process.getuid!(), gid: process.getgid!() };

async function collect(client: OutputClient): Promise<{ text: string; exitCode: number | undefined }> {
  let text = '';
  for await (const message of client) {
    if (message.kind === 'ended') return { text, exitCode: message.exitCode };
    if (message.kind === 'output') text += Buffer.from(message.data).toString();
  }
  return { text, exitCode: undefined };
}

function withPipes({ stdin = false, detach = false } = {}) {
  const pipes = makePipes({ owner, stdin, detach });
  const dir = mkdtempSync(join(tmpdir(), 'fl-streams-'));
  folders.push(dir);
  const driver = new CollectingDriver();
  const ledger = new Ledger(dir);
  const output = new RecordedOutput({ dir, ledger, driver, staging: undefined, onFailure: assert.ifError });
  return { pipes, logged: driver.logged, streams: new ProcessStreams({ ends: pipes.ends, output }) };
}

test('output goes to the log and to the clients, and the drain waits for its end', async () => {
  const { pipes, streams, logged } = withPipes();
  const seen = collect(streams.attach(both));
  writeSync(pipes.container.stdout, 'out');
  writeSync(pipes.container.stderr, 'err');
  await sleep(20);
  writeSync(pipes.container.stdout, 'put');
  pipes.closeContainerSide();
  await streams.drain(5_000);
  streams.finish(7);
  assert.deepEqual(logged, { stdout: 'output', stderr: 'err' });
  assert.equal((await seen).exitCode, 7);
});

test('a writer whose reader is gone waits, it is not killed: both ends of its pipe are its own', () => {
  const { pipes, streams } = withPipes();
  streams.close();
  writeSync(pipes.container.stdout, 'still here');
  pipes.closeContainerSide();
});

test('a process that left its pipe to others is drained of what there is', async () => {
  const { pipes, streams } = withPipes();
  const seen = collect(streams.attach(both));
  writeSync(pipes.container.stdout, 'first');
  await streams.drain(0);
  writeSync(pipes.container.stdout, 'nobody hears this');
  streams.finish(0);
  assert.deepEqual(await seen, { text: 'first', exitCode: 0 });
  pipes.closeContainerSide();
});

test('the drain has a limit where a writer never ends', async () => {
  const { pipes, streams, logged } = withPipes();
  streams.open();
  writeSync(pipes.container.stdout, 'some\n');
  const startedAt = performance.now();
  await streams.drain(50);
  assert.ok(performance.now() - startedAt >= 45);
  assert.equal(logged.stdout, 'some\n');
  pipes.closeContainerSide();
});

test('output waits in the pipe until somebody attaches', async () => {
  const { pipes, streams, logged } = withPipes();
  writeSync(pipes.container.stdout, 'early');
  await sleep(20);
  assert.equal(logged.stdout, '');
  const seen = collect(streams.attach(both));
  await streams.drain(0);
  streams.finish(0);
  assert.equal((await seen).text, 'early');
  pipes.closeContainerSide();
});

test('a detached process writes to /dev/null', () => {
  const { pipes, streams } = withPipes({ detach: true });
  assert.ok(fstatSync(pipes.container.stdout).isCharacterDevice());
  streams.close();
  pipes.closeContainerSide();
});

test('a slow client holds a process back whose output nobody else takes, and loses nothing', async () => {
  const pipes = makePipes({ owner, stdin: false, detach: false });
  const streams = new ProcessStreams({ ends: pipes.ends });
  const client = streams.attach(both);
  const block = Buffer.alloc(32 * 1024, 'x');
  const writer = openSync(`/proc/self/fd/${pipes.container.stdout}`, constants.O_WRONLY | constants.O_NONBLOCK);
  let written = 0;
  for (let i = 0; i < 60; i++) {
    await sleep(1);
    written += writeSome(writer, block);
  }
  closeSync(writer);
  assert.ok(written > 256 * 1024 && written < 60 * block.length, `${written} bytes were taken`);
  const seen = collect(client);
  await sleep(20);
  pipes.closeContainerSide();
  await streams.drain(1_000);
  streams.finish(0);
  assert.equal((await seen).text.length, written);
});

test('input arrives, and its end after it', async () => {
  const { pipes, streams } = withPipes({ stdin: true });
  await streams.write(Buffer.from('in'));
  await streams.write(Buffer.from('put'));
  streams.closeInput();
  await streams.write(Buffer.from('too late'));
  await sleep(5);
  assert.equal(readFileSync(pipes.container.stdin, 'utf8'), 'input');
  streams.close();
  pipes.closeContainerSide();
});

test('input that was never sent ends too', () => {
  const { pipes, streams } = withPipes({ stdin: true });
  streams.closeInput();
  assert.equal(readSync(pipes.container.stdin, Buffer.alloc(1), 0, 1, null), 0);
  streams.close();
  pipes.closeContainerSide();
});

test('input for a process that has closed its end is thrown away', async () => {
  const { pipes, streams } = withPipes({ stdin: true });
  pipes.closeContainerSide();
  await streams.write(Buffer.from('x'));
  await streams.write(Buffer.from('y'));
  streams.close();
});

test('a process that does not read makes the sender of input wait, until it ends', async () => {
  const { pipes, streams } = withPipes({ stdin: true });
  let taken = false;
  const writing = streams.write(Buffer.alloc(256 * 1024)).then(() => {
    taken = true;
  });
  await sleep(20);
  assert.equal(taken, false);
  streams.finish(0);
  await writing;
  streams.close();
  pipes.closeContainerSide();
});

test('a terminal carries both ways, has a size, and ends with its last holder', async () => {
  const master = openTerminalMaster();
  const peer = openTerminalPeer(master);
  const streams = new ProcessStreams({ ends: { terminalFd: master } });
  const seen = collect(streams.attach(both));
  streams.resize({ rows: 33, columns: 99 });
  assert.deepEqual(getTerminalSize(peer), { rows: 33, columns: 99 });
  streams.resize({ rows: 0, columns: 50 });
  assert.deepEqual(getTerminalSize(peer), { rows: 33, columns: 99 });
  await streams.write(Buffer.from('typed\n'));
  const line = Buffer.alloc(20);
  assert.equal(line.toString('utf8', 0, readSync(peer, line, 0, 20, null)), 'typed\n');
  writeSync(peer, 'answer\n');
  closeSync(peer);
  await streams.drain(1_000);
  streams.finish(0);
  assert.equal((await seen).text, 'typed\r\nanswer\r\n');
  await streams.write(Buffer.from('gone'));
  streams.resize({ rows: 1, columns: 1 });
});

test('a paste at a program that does not read waits without holding up the process, and arrives whole', async () => {
  const master = openTerminalMaster();
  const peer = openTerminalPeer(master);
  setRawMode(peer);
  const streams = new ProcessStreams({ ends: { terminalFd: master } });
  let taken = false;
  const pasting = streams.write(Buffer.alloc(20_000, 'p')).then(() => {
    taken = true;
  });
  await sleep(20);
  assert.equal(taken, false);
  let length = 0;
  const into = Buffer.alloc(4096);
  setNonBlocking(peer, true);
  while (length < 20_000) {
    length += readFd(peer, into) ?? 0;
    await sleep(1);
  }
  await pasting;
  assert.equal(length, 20_000);
  closeSync(peer);
  streams.close();
});

test('sizes are refused where there is no terminal, and when they are none', () => {
  const { pipes, streams } = withPipes();
  assert.throws(() => streams.resize({ rows: 1, columns: 1 }), { reason: 'NO_TERMINAL' });
  streams.close();
  pipes.closeContainerSide();
  const master = openTerminalMaster();
  const terminal = new ProcessStreams({ ends: { terminalFd: master } });
  assert.throws(() => terminal.resize({ rows: 70_000, columns: 1 }), { reason: 'INVALID_FIELD' });
  terminal.close();
});

/** Writes what fits without waiting. */
function writeSome(fd: number, data: Uint8Array): number {
  try {
    return writeSync(fd, data);
  } catch (error) {
    if (isErrno(error, 'EAGAIN')) return 0;
    throw error;
  }
}

test('input whose reader has gone is not handed over: its descriptor is closed', async () => {
  const { pipes, streams } = withPipes({ stdin: true });
  assert.ok('stdin' in streams.descriptors());
  pipes.closeContainerSide();
  await streams.write(Buffer.from('nobody reads'));
  assert.ok(!('stdin' in streams.descriptors()));
  streams.close();
});
