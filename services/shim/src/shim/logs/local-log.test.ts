import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LocalLogRecord } from '@flotilla/proto/flotilla/log/v1/local_log';
import { LogFeeder } from '../testing/log-feeder.ts';
import { JsonLog } from './json-log.ts';
import { LocalLog } from './local-log.ts';
import type { LogDriver } from './log-driver.ts';
import { RotatingFile } from './rotating-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'fl-local-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = 1_795_561_200_120_000_000n;
let count = 0;
const nextPath = () => join(folder, `${++count}.log`);

/** Records of a file, by the contract. */
function records(path: string): LocalLogRecord[] {
  const bytes = readFileSync(path);
  const all: LocalLogRecord[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const length = bytes.readUInt32BE(offset);
    assert.equal(bytes.readUInt32BE(offset + 4 + length), length);
    all.push(LocalLogRecord.decode(bytes.subarray(offset + 4, offset + 4 + length)));
    offset += 8 + length;
  }
  return all;
}

function feed(driver: LogDriver, chunks: readonly string[]): void {
  using log = new LogFeeder(driver);
  for (const [n, chunk] of chunks.entries()) log.write('stderr', Buffer.from(chunk), at + BigInt(n));
  log.end('stderr', at + 99n);
}

const inputs: Readonly<Record<string, readonly string[]>> = {
  'lines in one chunk': ['a\nb\n\nc\n'],
  'a line in three chunks': ['a', 'b', 'c\nd\n'],
  'no newline at the end': ['a\nb'],
  '16 KiB': [`${'x'.repeat(16_384)}\n`],
  'a long line in chunks, then short ones': ['y'.repeat(20_000), `${'z'.repeat(20_000)}\nshort\n`, 'end\n'],
  'characters cut at 16 KiB': [`${'x'.repeat(16_383)}é\nrest\n`],
  'many lines': [Array.from({ length: 3_000 }, (_, n) => `line ${n}\n`).join('')],
};
for (const [name, chunks] of Object.entries(inputs)) {
  test(`${name}: the entries that json-file makes, in fewer bytes`, () => {
    const [jsonPath, localPath] = [nextPath(), nextPath()];
    feed(new JsonLog({ path: jsonPath, maxSizeBytes: 0, maxFiles: 1 }), chunks);
    feed(new LocalLog({ path: localPath, maxSizeBytes: 0, maxFiles: 1 }), chunks);
    const expected = readFileSync(jsonPath, 'utf8').trimEnd().split('\n');
    const found = records(localPath).flatMap(({ stream, timeUnixNano, data }) =>
      data
        .toString()
        .split(/(?<=\n)/)
        .map((log) => ({ stream, log, nanos: timeUnixNano % 1_000_000n })),
    );
    assert.deepEqual(
      found,
      expected.map((line) => {
        const { log, time } = JSON.parse(line) as { log: string; time: string };
        const nanos = BigInt(/\.(\d+)Z/.exec(time)![1]!.padEnd(9, '0')) % 1_000_000n;
        return { stream: 2, log, nanos };
      }),
    );
    assert.ok(readFileSync(localPath).length < readFileSync(jsonPath).length);
  });
}

test('a file is rotated between two records', () => {
  const path = nextPath();
  using log = new LogFeeder(new LocalLog({ path, maxSizeBytes: 1_000, maxFiles: 3 }));
  for (let n = 0; n < 100; n++) log.write('stdout', Buffer.from(`line ${n}\n`), at);
  const lines = [`${path}.2`, `${path}.1`, path].flatMap((file) => records(file).map(({ data }) => data.toString()));
  assert.ok(lines.length > 50);
  assert.deepEqual(
    lines,
    Array.from({ length: lines.length }, (_, n) => `line ${100 - lines.length + n}\n`),
  );
});

test('what a killed writer left of its last record is cut off, whatever it looks like', () => {
  const path = nextPath();
  feed(new LocalLog({ path, maxSizeBytes: 0, maxFiles: 1 }), ['first\n', 'second\n']);
  const whole = readFileSync(path).length;
  for (const torn of [Buffer.alloc(3), Buffer.from('0000000474657374000000', 'hex'), Buffer.alloc(9, 'x')]) {
    appendFileSync(path, torn);
    new LocalLog({ path, maxSizeBytes: 0, maxFiles: 1 })[Symbol.dispose]();
    assert.equal(readFileSync(path).length, whole);
  }
  truncateSync(path, whole - 1);
  new LocalLog({ path, maxSizeBytes: 0, maxFiles: 1 })[Symbol.dispose]();
  assert.deepEqual(
    records(path).map(({ data }) => data.toString()),
    ['first\n'],
  );
});

for (const cut of [0, 1, 40, 5_000, 20_000, Number.POSITIVE_INFINITY]) {
  test(`a piece of which ${cut} bytes were written before a kill is completed, also across files`, () => {
    const data = Buffer.from(Array.from({ length: 6_000 }, (_, n) => `line ${n}\n`).join(''));
    const piece = () => ({
      stream: 'stdout' as const,
      data,
      atUnixNano: at,
      line: { continuedAtUnixNano: 0n },
      ended: false,
    });
    const options = { maxSizeBytes: 20_000, maxFiles: 9 };
    const [expected, path] = [nextPath(), nextPath()];
    using all = new LocalLog({ path: expected, ...options });
    all.write(piece());
    const killed = new LocalLog({ path, ...options });
    const { place } = killed;
    const { write } = RotatingFile.prototype;
    RotatingFile.prototype.write = function (bytes) {
      write.call(this, bytes.subarray(0, Math.min(cut, bytes.length)));
    };
    try {
      killed.write(piece());
    } finally {
      RotatingFile.prototype.write = write;
    }
    killed[Symbol.dispose]();
    using successor = new LocalLog({ path, ...options });
    assert.equal(successor.writeAgain(piece(), place), data.length);
    const content = (base: string) =>
      ['', '.1', '.2', '.3', '.4', '.5'].map((age) => (existsSync(base + age) ? readFileSync(base + age, 'hex') : ''));
    assert.deepEqual(content(path), content(expected));
  });
}
