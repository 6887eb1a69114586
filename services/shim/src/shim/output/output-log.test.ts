import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, getRlimit, pipe2, setRlimit, writeFd } from '@flotilla/linux';
import { CollectingDriver } from '../testing/collecting-driver.ts';
import { Journal } from './journal.ts';
import { Ledger } from './ledger.ts';
import { OutputLog } from './output-log.ts';

const folders: string[] = [];
after(() => {
  for (const dir of folders) rmSync(dir, { recursive: true });
});
const note = /^\[flotilla: (\d+) bytes of output were dropped here: the log driver did not keep up\]\n/m;

/** Output on its way through a pipe, a journal and a log. */
class Rig implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'fl-output-'));
  readonly driver = new CollectingDriver();
  readonly holds: boolean[] = [];
  readonly failures: unknown[] = [];
  readonly #pipe = pipe2();
  readonly #journals: { stdout: Journal; stderr: Journal };
  readonly #nonBlockingBufferBytes: number;
  log: OutputLog;
  written = '';

  constructor(nonBlockingBufferBytes: number) {
    folders.push(this.dir);
    this.#nonBlockingBufferBytes = nonBlockingBufferBytes;
    this.#journals = {
      stdout: new Journal(this.dir, 'stdout', 1024 * 1024),
      stderr: new Journal(this.dir, 'stderr', 1024 * 1024),
    };
    this.log = this.open();
  }

  /** As a shim does that takes over. */
  open(): OutputLog {
    return new OutputLog({
      journals: this.#journals,
      ledger: new Ledger(this.dir),
      driver: this.driver,
      now: () => 1n,
      onFailure: (error) => this.failures.push(error),
      onHold: (hold) => this.holds.push(hold),
      nonBlockingBufferBytes: this.#nonBlockingBufferBytes,
    });
  }

  write(lines: number): void {
    for (let n = 0; n < lines; n += 500) {
      this.read(n);
      this.log.take('stdout');
    }
  }

  /** 500 lines. */
  read(first: number): void {
    const text = Array.from({ length: 500 }, (_, i) => `line ${first + i} of the output\n`).join('');
    writeFd(this.#pipe.writeFd, Buffer.from(text));
    this.#journals.stdout.fill(this.#pipe.readFd);
    this.written += text;
  }

  /** Fails unless the log has all of the output but what its notes say. */
  checkNothingIsMissing(): void {
    let logged = this.driver.logged.stdout;
    let at = 0;
    for (let found = note.exec(logged); found !== null; found = note.exec(logged)) {
      assert.equal(logged.slice(0, found.index), this.written.slice(at, at + found.index));
      at += found.index + Number(found[1]);
      logged = logged.slice(found.index + found[0].length);
    }
    assert.equal(logged, this.written.slice(at));
  }

  [Symbol.dispose](): void {
    this.log.close();
    for (const fd of [this.#pipe.readFd, this.#pipe.writeFd]) closeFd(fd);
  }
}

const busy = Object.assign(new Error('busy'), { code: 'ENOSPC' });

test('a driver that waits holds the process up, and loses nothing', async () => {
  using rig = new Rig(0);
  rig.write(500);
  rig.driver.failure = busy;
  rig.write(500);
  assert.deepEqual(rig.holds, [true]);
  rig.driver.failure = undefined;
  assert.equal(await rig.log.settle(10_000), true);
  assert.deepEqual(rig.holds, [true, false]);
  assert.deepEqual(rig.failures, [busy]);
  assert.equal(rig.driver.logged.stdout, rig.written);
});

test('one that does not wait goes on without a loss while there is room', async () => {
  using rig = new Rig(512 * 1024);
  rig.driver.failure = busy;
  rig.write(10_000);
  rig.driver.failure = undefined;
  assert.equal(await rig.log.settle(10_000), true);
  assert.deepEqual(rig.holds, []);
  assert.equal(rig.driver.logged.stdout, rig.written);
});

test('beyond that the oldest is dropped, a line says how much, and the process was never held up', async () => {
  using rig = new Rig(512 * 1024);
  rig.write(1_000);
  rig.driver.failure = busy;
  rig.write(200_000);
  rig.driver.failure = undefined;
  assert.equal(await rig.log.settle(10_000), true);
  rig.write(1_000);
  assert.deepEqual(rig.holds, []);
  assert.match(rig.driver.logged.stdout, note);
  rig.checkNothingIsMissing();
});

test('a driver that takes a little at a time gets everything', async () => {
  using rig = new Rig(0);
  const { write } = rig.driver;
  rig.driver.write = (piece) => {
    if (rig.driver.failure !== undefined) return write.call(rig.driver, piece);
    const lineEnd = piece.data.indexOf(0x0a, 2_000) + 1 || piece.data.length;
    return write.call(rig.driver, { ...piece, data: piece.data.subarray(0, lineEnd) });
  };
  rig.write(2_000);
  assert.equal(rig.driver.logged.stdout, rig.written);
});

test('a shim that takes over while output is dropped goes on where the other was', async () => {
  using rig = new Rig(512 * 1024);
  rig.write(1_000);
  rig.driver.failure = busy;
  rig.write(100_000);
  rig.log.close();
  await sleep(300); // it tries no more
  rig.driver.failure = undefined;
  rig.log = rig.open();
  rig.log.recover();
  rig.write(500);
  assert.match(rig.driver.logged.stdout, note);
  rig.checkNothingIsMissing();
});

test('what cannot be written down is not logged either: whoever takes over would log it again', async () => {
  using rig = new Rig(0);
  rig.write(500);
  const before = rig.driver.logged.stdout;
  rig.read(500);
  const onLimit = () => {};
  process.on('SIGXFSZ', onLimit);
  const limit = getRlimit('RLIMIT_FSIZE');
  setRlimit('RLIMIT_FSIZE', { ...limit, soft: 0n });
  try {
    rig.log.take('stdout');
    await sleep(100); // it tries again and again
    assert.equal(rig.driver.logged.stdout, before);
    assert.deepEqual(rig.holds, [true]);
  } finally {
    setRlimit('RLIMIT_FSIZE', limit);
    process.off('SIGXFSZ', onLimit);
  }
  assert.equal(await rig.log.settle(10_000), true);
  assert.equal(rig.driver.logged.stdout, rig.written);
});
