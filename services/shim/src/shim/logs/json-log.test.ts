import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LogFeeder } from '../testing/log-feeder.ts';
import { JsonLog } from './json-log.ts';
import { formatTime } from './json-log-encoder.ts';
import { RotatingFile } from './rotating-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'fl-log-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const at = 1_795_561_200_120_000_000n; // 2026-11-24T23:00:00.12Z
let count = 0;

function open(options: { maxSizeBytes?: number; maxFiles?: number; path?: string } = {}) {
  const path = options.path ?? join(folder, `${++count}.log`);
  const log = new LogFeeder(new JsonLog({ path, maxSizeBytes: 0, maxFiles: 1, ...options }));
  return { path, log };
}

function written(chunks: readonly (string | Buffer)[]): string {
  const { log, path } = open();
  for (const chunk of chunks) log.write('stdout', Buffer.from(chunk as string), at);
  log.end('stdout', at);
  log[Symbol.dispose]();
  return readFileSync(path, 'utf8');
}

const record = (inside: string) => `{"log":"${inside}","stream":"stdout","time":"2026-11-24T23:00:00.12Z"}\n`;

// The right-hand sides are what Go's encoder in moby/daemon/logger/jsonfilelog/jsonlog makes of the left-hand ones.
const encodings: readonly [string, readonly (string | Buffer)[], string][] = [
  ['a plain line', ['hello\n'], record('hello\\n')],
  ['an empty line', ['\n'], record('\\n')],
  ['two lines in one chunk', ['a\nb\n'], record('a\\n') + record('b\\n')],
  ['no newline at the end', ['a\nb'], record('a\\n') + record('b')],
  ['nothing', [], ''],
  ['quotes and backslashes', ['"\\\n'], record('\\"\\\\\\n')],
  ['what HTML minds', ['<&>\n'], record('\\u003c\\u0026\\u003e\\n')],
  ['controls', ['\t\r\x00\x1b[0m\x7f\n'], record('\\u0009\\r\\u0000\\u001b[0m\x7f\\n')],
  ['line separators', ['\u2028\u2029\u2027\n'], record('\\u2028\\u2029\u2027\\n')],
  ['characters of two, three and four bytes', ['é€😀\n'], record('é€😀\\n')],
  ['a byte that is no UTF-8', [Buffer.from([0x61, 0xff, 0x62, 0x0a])], record('a\\ufffdb\\n')],
  ['a lone continuation', [Buffer.from([0x80, 0x0a])], record('\\ufffd\\n')],
  ['an overlong form', [Buffer.from([0xc0, 0xaf, 0x0a])], record('\\ufffd\\ufffd\\n')],
  ['a surrogate', [Buffer.from([0xed, 0xa0, 0x80, 0x0a])], record('\\ufffd\\ufffd\\ufffd\\n')],
  ['beyond U+10FFFF', [Buffer.from([0xf4, 0x90, 0x80, 0x80, 0x0a])], record(`${'\\ufffd'.repeat(4)}\\n`)],
  ['a cut-off character before the newline', [Buffer.from([0xe2, 0x82, 0x0a])], record('\\ufffd\\ufffd\\n')],
  ['a line in three chunks', ['a', 'b', 'c\nd\n'], record('abc\\n') + record('d\\n')],
  ['a chunk that is only the newline', ['a', '\n'], record('a\\n')],
  ['a character cut between chunks', [Buffer.from([0xe2]), Buffer.from([0x82, 0xac, 0x0a])], record('€\\n')],
  ['a cut character at the end', ['a', Buffer.from([0xe2, 0x82])], record('a\\ufffd\\ufffd')],
  ['16 KiB less one', [`${'x'.repeat(16_383)}\n`], record(`${'x'.repeat(16_383)}\\n`)],
  ['16 KiB', [`${'x'.repeat(16_384)}\n`], record('x'.repeat(16_384)) + record('\\n')],
  [
    '40 KiB',
    [`${'x'.repeat(40_960)}\n`],
    record('x'.repeat(16_384)) + record('x'.repeat(16_384)) + record(`${'x'.repeat(8_192)}\\n`),
  ],
  [
    '20 KiB in small chunks',
    [...Array.from({ length: 20 }, () => 'x'.repeat(1_024)), '\n'],
    record('x'.repeat(16_384)) + record(`${'x'.repeat(4_096)}\\n`),
  ],
  ['20 KiB without an end', ['x'.repeat(20_480)], record('x'.repeat(16_384)) + record('x'.repeat(4_096))],
  [
    'a character across the cut is kept whole',
    [`${'x'.repeat(16_382)}€y\n`],
    record('x'.repeat(16_382)) + record('€y\\n'),
  ],
  [
    'a character across the cut, in two chunks',
    ['x'.repeat(16_382), '€y\n'],
    record('x'.repeat(16_382)) + record('€y\\n'),
  ],
  ['16 KiB of nothing but bad bytes', [Buffer.alloc(16_384, 0xff)], record('\\ufffd'.repeat(16_384))],
];
for (const [name, chunks, expected] of encodings) {
  test(`the log of ${name} is Docker's`, () => assert.equal(written(chunks), expected));
}

test('any cut into chunks gives the same log', () => {
  const text = Buffer.from(`short\n${'é'.repeat(9_000)}\n\n"quoted" €\n${'z'.repeat(33_000)}\nend`);
  const whole = written([text]);
  for (const size of [1, 7, 1_000, 16_383, 16_384, 16_385, 50_000]) {
    const chunks = [];
    for (let i = 0; i < text.length; i += size) chunks.push(text.subarray(i, i + size));
    assert.equal(written(chunks), whole, `chunks of ${size}`);
  }
});

test('large chunks of plain lines, the short way, give the log that small ones do', () => {
  const plain = Array.from(
    { length: 3_000 },
    (_, i) => `${'~'.repeat(i % 70)} !#$%'()*+,-./:;=?@AZ[]^_\`az{|}~\x7f ${i}\n`,
  );
  const awkward = ['"', '\\', '<', '>', '&', '\t', 'é', '\x00'].map(
    (text) => `${plain.join('')}${text}\n${plain.join('')}`,
  );
  const long = [16_383, 16_384, 16_385].map((length) => `${plain[0]}${'x'.repeat(length)}\n${plain.join('')}`);
  for (const text of [plain.join(''), `${plain.join('')}end`, '\n'.repeat(10_000), ...awkward, ...long]) {
    const bytes = Buffer.from(text);
    const small = [];
    for (let i = 0; i < bytes.length; i += 4_000) small.push(bytes.subarray(i, i + 4_000));
    assert.equal(written([bytes]), written(small), JSON.stringify(text.slice(0, 50)));
  }
});

test('records larger than the buffer come out in order', () => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `${i}\n`);
  const logs = written([lines.join('')])
    .trimEnd()
    .split('\n');
  assert.deepEqual(
    logs.map((line) => JSON.parse(line).log),
    lines,
  );
});

test('the pieces of a long line carry the time of the first', () => {
  const { log, path } = open();
  log.write('stdout', Buffer.alloc(16_384, 'x'), at);
  log.write('stdout', Buffer.from('rest\nnext\n'), at + 1_000_000_000n);
  log[Symbol.dispose]();
  const times = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).time);
  assert.deepEqual(times, ['2026-11-24T23:00:00.12Z', '2026-11-24T23:00:00.12Z', '2026-11-24T23:00:01.12Z']);
});

test('the two streams do not mix inside a line', () => {
  const { log, path } = open();
  log.write('stdout', Buffer.from('out '), at);
  log.write('stderr', Buffer.from('err\n'), at);
  log.write('stdout', Buffer.from('put\n'), at);
  log[Symbol.dispose]();
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => [JSON.parse(line).stream, JSON.parse(line).log]),
    [
      ['stderr', 'err\n'],
      ['stdout', 'out put\n'],
    ],
  );
});

const times: readonly [bigint, string][] = [
  [0n, '1970-01-01T00:00:00Z'],
  [1n, '1970-01-01T00:00:00.000000001Z'],
  [1_795_561_200_123_456_789n, '2026-11-24T23:00:00.123456789Z'],
  [1_795_561_200_999_000_000n, '2026-11-24T23:00:00.999Z'],
];
for (const [nano, text] of times) test(`${nano} ns is ${text}`, () => assert.equal(formatTime(nano), text));

test('rotation keeps every record once, in order, and only so many files', () => {
  const { log, path } = open({ maxSizeBytes: 10_000, maxFiles: 4 });
  const lines = Array.from({ length: 1_000 }, (_, i) => `line ${i}\n`);
  for (let i = 0; i < lines.length; i += 37) {
    log.write('stdout', Buffer.from(lines.slice(i, i + 37).join('')), at);
  }
  log[Symbol.dispose]();
  assert.equal(existsSync(`${path}.4`), false);
  const files = [3, 2, 1].map((n) => readFileSync(`${path}.${n}`, 'utf8'));
  for (const file of files) {
    assert.ok(file.length >= 10_000 && file.length < 10_000 + 100, `${file.length} bytes`);
  }
  const kept = [...files, readFileSync(path, 'utf8')].join('').trimEnd().split('\n');
  assert.deepEqual(
    kept.map((line) => JSON.parse(line).log),
    lines.slice(-kept.length),
  );
});

test('one chunk may fill several files', () => {
  const { log, path } = open({ maxSizeBytes: 1_000, maxFiles: 100 });
  const lines = Array.from({ length: 200 }, (_, i) => `line ${i}\n`);
  log.write('stdout', Buffer.from(lines.join('')), at);
  log[Symbol.dispose]();
  const files = [];
  for (let n = 99; n > 0; n--) if (existsSync(`${path}.${n}`)) files.push(readFileSync(`${path}.${n}`, 'utf8'));
  files.push(readFileSync(path, 'utf8'));
  assert.ok(files.length > 10);
  assert.deepEqual(
    files
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).log),
    lines,
  );
});

test('a single file starts anew when it is full', () => {
  const { log, path } = open({ maxSizeBytes: 500, maxFiles: 1 });
  for (let i = 0; i < 20; i++) log.write('stdout', Buffer.from(`line ${i}\n`), at);
  log[Symbol.dispose]();
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.ok(lines.length < 10);
  assert.equal(JSON.parse(lines.at(-1)!).log, 'line 19\n');
  assert.equal(existsSync(`${path}.1`), false);
});

test('a reopened log goes on where it was, without the record that a killed writer left torn', () => {
  const path = join(folder, 'torn.log');
  writeFileSync(path, `${record('first\\n')}{"log":"hal`);
  const { log } = open({ path });
  log.write('stdout', Buffer.from('second\n'), at);
  log[Symbol.dispose]();
  assert.equal(readFileSync(path, 'utf8'), record('first\\n') + record('second\\n'));
});

/** Every way in which a shim may have been killed while it wrote a piece: with so many bytes of it in the files. */
const cuts = [0, 1, 40, 500, 1_000, 5_000, Number.POSITIVE_INFINITY];
for (const [maxSizeBytes, maxFiles] of [
  [0, 1],
  [2_000, 1],
  [2_000, 3],
  [700, 30],
] as const) {
  test(`a piece that was cut short is completed (files of ${maxSizeBytes} bytes, ${maxFiles} of them)`, () => {
    const before = Buffer.from(Array.from({ length: 12 }, (_, i) => `before ${i}\n`).join(''));
    const data = Buffer.from(Array.from({ length: 60 }, (_, i) => `line ${i}\n`).join(''));
    const piece = () => ({ stream: 'stdout' as const, data, atUnixNano: at, line: newLine(), ended: false });
    const expected = open({ maxSizeBytes, maxFiles });
    expected.log.write('stdout', before, at - 1n);
    expected.log.driver.write(piece());
    for (const cut of cuts) {
      const { log, path } = open({ maxSizeBytes, maxFiles });
      log.write('stdout', before, at - 1n);
      const { place } = log.driver;
      const { write } = RotatingFile.prototype;
      let left = cut;
      RotatingFile.prototype.write = function (records) {
        write.call(this, records.subarray(0, Math.min(left, records.length)));
        left -= records.length;
      };
      try {
        log.driver.write(piece());
      } finally {
        RotatingFile.prototype.write = write;
      }
      log[Symbol.dispose]();
      using successor = new JsonLog({ path, maxSizeBytes, maxFiles });
      assert.equal(successor.writeAgain(piece(), place), data.length);
      assert.deepEqual(filesOf(path), filesOf(expected.path), `after ${cut} bytes`);
    }
  });
}

const newLine = () => ({ continuedAtUnixNano: 0n });

function filesOf(path: string): string[] {
  const ages = ['', ...Array.from({ length: 40 }, (_, i) => `.${i + 1}`)];
  return ages.map((age) => (existsSync(`${path}${age}`) ? readFileSync(`${path}${age}`, 'utf8') : ''));
}
