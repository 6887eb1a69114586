import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalLogRecord } from '@flotilla/proto/flotilla/log/v1/local_log';
import { localFormat } from './local-records.ts';
import { type LogEntry, type LogRequest, readLog } from './log-reader.ts';
import { jsonFormat, parseTime } from './log-records.ts';

const firstSecond = 1_700_000_000n * 1_000_000_000n;

/** A log as a shim writes it: rotated by renaming. */
class Log implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'log-'));
  readonly path = join(this.folder, 'x.log');
  #written = 0;

  write(count: number, { stream = 'stdout', text = '' } = {}): void {
    let lines = '';
    for (let n = 0; n < count; n++, this.#written++) {
      const time = new Date(Number(firstSecond / 1_000_000n) + this.#written).toISOString().replace('Z', '000001Z');
      lines += `${JSON.stringify({ log: `${this.#written}${text}\n`, stream, time })}\n`;
    }
    appendFileSync(this.path, lines);
  }

  rotate(files = 5): void {
    rmSync(`${this.path}.${files - 1}`, { force: true });
    for (let n = files - 1; n > 1; n--) {
      try {
        renameSync(`${this.path}.${n - 1}`, `${this.path}.${n}`);
      } catch {} // Not there yet.
    }
    renameSync(this.path, `${this.path}.1`);
    writeFileSync(this.path, '');
  }

  request(changes: Partial<LogRequest> = {}): LogRequest {
    return {
      path: this.path,
      format: jsonFormat,
      stdout: true,
      stderr: true,
      sinceUnixNano: undefined,
      untilUnixNano: undefined,
      tail: undefined,
      afterCursor: '',
      isOver: undefined,
      signal: new AbortController().signal,
      now: () => firstSecond,
      ...changes,
    };
  }

  async read(changes: Partial<LogRequest> = {}): Promise<LogEntry[]> {
    return Array.fromAsync(readLog(this.request(changes)));
  }

  async numbers(changes: Partial<LogRequest> = {}): Promise<number[]> {
    return (await this.read(changes)).map(({ data }) => Number(data));
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);

test('all records of all files, oldest first', async () => {
  using log = new Log();
  for (let file = 0; file < 3; file++) {
    log.write(1000);
    if (file < 2) log.rotate();
  }
  assert.deepEqual(await log.numbers(), range(0, 3000));
});

test('no log yet is an empty one', async () => {
  using log = new Log();
  assert.deepEqual(await log.numbers(), []);
  assert.deepEqual(await log.numbers({ tail: 5 }), []);
});

for (const tail of [0, 1, 999, 1000, 1001, 1500, 2500, 5000]) {
  test(`the last ${tail} of 2500 records in three files`, async () => {
    using log = new Log();
    log.write(1000);
    log.rotate();
    log.write(1000);
    log.rotate();
    log.write(500);
    assert.deepEqual(await log.numbers({ tail }), range(Math.max(0, 2500 - tail), 2500));
  });
}

test('one stream alone; since and until', async () => {
  using log = new Log();
  log.write(5);
  log.write(5, { stream: 'stderr' });
  log.write(5);
  assert.deepEqual(await log.numbers({ stdout: false }), range(5, 10));
  const at = (n: number) => firstSecond + BigInt(n) * 1_000_000n + 1n;
  assert.deepEqual(await log.numbers({ sinceUnixNano: at(3), untilUnixNano: at(12) }), range(3, 12));
});

test('a record that is not finished is not read; one that is none is passed over', async () => {
  using log = new Log();
  log.write(2);
  appendFileSync(log.path, 'garbage\n\n');
  log.write(1);
  appendFileSync(log.path, '{"log":"unfin');
  assert.deepEqual(await log.numbers(), range(0, 3));
  appendFileSync(log.path, `${'x'.repeat(300_000)}\n`);
  log.write(1);
  assert.deepEqual(await log.numbers(), range(0, 4));
});

test('long lines of escaped bytes', async () => {
  using log = new Log();
  log.write(3, { text: '\u0001'.repeat(16 * 1024) });
  const entries = await log.read();
  assert.deepEqual(
    entries.map(({ data }) => data.length),
    [16_386, 16_386, 16_386],
  );
});

test('following goes across rotations, without a gap or a double, and ends once it is over', async () => {
  using log = new Log();
  log.write(10);
  let over = false;
  const reading = log.numbers({ isOver: () => over });
  for (let round = 0; round < 12; round++) {
    await sleep(7);
    log.write(100);
    if (round % 3 === 2) log.rotate();
    log.write(7);
  }
  over = true;
  log.write(1);
  // Written after it was over: may be read or not.
  const numbers = await reading;
  assert.deepEqual(numbers.slice(0, 10 + 12 * 107), range(0, 10 + 12 * 107));
});

test('following ends by its signal and by until', async () => {
  using log = new Log();
  log.write(3);
  const controller = new AbortController();
  const reading = log.numbers({ isOver: () => false, signal: controller.signal });
  await sleep(30);
  controller.abort();
  assert.deepEqual(await reading, range(0, 3));
  const until = { isOver: () => false, untilUnixNano: firstSecond + 3_600_000_000_000n };
  assert.deepEqual(await log.numbers({ ...until, now: () => firstSecond + 3_600_000_000_001n }), range(0, 3));
});

test('a cursor goes on behind its entry, wherever its file has gone meanwhile', async () => {
  using log = new Log();
  log.write(100);
  const entries = await log.read();
  for (const [afterRotations, expected] of [
    [0, range(51, 100)],
    [1, range(51, 110)],
    [2, range(51, 120)],
  ] as const) {
    if (afterRotations > 0) {
      log.rotate();
      log.write(10);
    }
    assert.deepEqual(await log.numbers({ afterCursor: entries[50]!.cursor }), expected);
  }
  const last = (await log.read()).at(-1)!;
  assert.deepEqual(await log.numbers({ afterCursor: last.cursor, tail: 5 }), []);
});

test('a cursor into a file that is gone goes on with the oldest', async () => {
  using log = new Log();
  log.write(10);
  const [first] = await log.read();
  for (let n = 0; n < 3; n++) {
    log.rotate(2);
    log.write(10);
  }
  assert.deepEqual(await log.numbers({ afterCursor: first!.cursor }), range(20, 40));
});

test('a cursor that is none is refused', async () => {
  using log = new Log();
  log.write(1);
  for (const afterCursor of ['x', '1.2.3', '1.aaaaaaaaaaaaaaaa.-1']) {
    await assert.rejects(log.read({ afterCursor }), { reason: 'INVALID_FIELD' });
  }
});

test('a log of one file that is emptied is read on from its start', async () => {
  using log = new Log();
  log.write(50);
  let over = false;
  const reading = log.numbers({ isOver: () => over });
  await sleep(40);
  truncateSync(log.path, 0);
  log.write(5);
  await sleep(40);
  over = true;
  assert.deepEqual(await reading, range(0, 55));
});

for (const [text, nanos] of [
  ['1970-01-01T00:00:01Z', 1_000_000_000n],
  ['1970-01-01T00:00:01.5Z', 1_500_000_000n],
  ['2023-11-14T22:13:20.000000001Z', 1_700_000_000_000_000_001n],
] as const) {
  test(`${text} is ${nanos}`, () => assert.equal(parseTime(text), nanos));
}

/** A log of the driver local: records of several lines. */
class LocalFile extends Log {
  #lines = 0;

  override write(count: number, { stream = 'stdout', text = '', perRecord = 7 } = {}): void {
    for (let left = count; left > 0; left -= perRecord) {
      const lines = Array.from({ length: Math.min(left, perRecord) }, (_, n) => `${this.#lines + n}${text}\n`);
      const bytes = LocalLogRecord.encode({
        stream: stream === 'stdout' ? 1 : 2,
        timeUnixNano: firstSecond + BigInt(this.#lines),
        data: Buffer.from(lines.join('')),
      }).finish();
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      appendFileSync(this.path, Buffer.concat([length, bytes, length]));
      this.#lines += lines.length;
    }
  }

  override request(changes: Partial<LogRequest> = {}): LogRequest {
    return super.request({ format: localFormat, ...changes });
  }
}

test('local: all lines of all files, and the last so many, from inside a record', async () => {
  using log = new LocalFile();
  log.write(20_000);
  log.rotate();
  log.write(1_000);
  assert.deepEqual(await log.numbers(), range(0, 21_000));
  for (const tail of [0, 1, 6, 7, 8, 999, 1_000, 1_001, 5_000, 30_000]) {
    assert.deepEqual(await log.numbers({ tail }), range(Math.max(0, 21_000 - tail), 21_000), `tail ${tail}`);
  }
});

test('local: a cursor goes on behind its line, also when its file was moved aside', async () => {
  using log = new LocalFile();
  log.write(100);
  const entries = await log.read();
  log.rotate();
  log.write(50);
  for (const n of [0, 5, 6, 7, 98, 99]) {
    assert.deepEqual(await log.numbers({ afterCursor: entries[n]!.cursor }), range(n + 1, 150));
  }
});

test('local: one stream, since, until; a record that is being written is not read', async () => {
  using log = new LocalFile();
  log.write(7);
  log.write(7, { stream: 'stderr' });
  log.write(7);
  appendFileSync(log.path, Buffer.from([0, 0, 1, 0, 8, 1]));
  assert.deepEqual(await log.numbers({ stdout: false }), range(7, 14));
  assert.deepEqual(
    await log.numbers({ sinceUnixNano: firstSecond + 7n, untilUnixNano: firstSecond + 14n }),
    range(7, 14),
  );
  assert.deepEqual(await log.numbers({ tail: 10 }), range(11, 21));
});

test('local: following goes across rotations', async () => {
  using log = new LocalFile();
  let over = false;
  const reading = log.numbers({ isOver: () => over });
  for (let round = 0; round < 9; round++) {
    await sleep(7);
    log.write(100);
    if (round % 3 === 2) log.rotate();
  }
  log.write(3);
  over = true;
  assert.deepEqual(await reading, range(0, 903));
});
