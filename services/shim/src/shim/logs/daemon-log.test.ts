import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { accept4, bindUnix, closeFd, listen, recv, unixSocket } from '@flotilla/linux';
import { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { JournaldLog } from './journald-log.ts';
import type { LogPiece } from './log-driver.ts';
import { SyslogLog } from './syslog-log.ts';

const folder = mkdtempSync(join(tmpdir(), 'fl-daemon-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const at = 1_795_561_200_120_000_000n; // 2026-11-24T23:00:00.12Z
const containerId = 'c0ffee'.repeat(10);

/** The socket of a daemon, whose messages are taken one by one. */
class Daemon implements Disposable {
  readonly path: string;
  readonly #fd: number;

  constructor(path = join(folder, `${++count}.sock`)) {
    this.path = path;
    rmSync(path, { force: true });
    this.#fd = unixSocket({ nonBlocking: true, datagrams: true });
    bindUnix(this.#fd, path);
  }

  messages(): Buffer[] {
    const all: Buffer[] = [];
    for (;;) {
      const buffer = Buffer.alloc(64 * 1024);
      const length = recv(this.#fd, buffer);
      if (length === undefined) return all;
      all.push(buffer.subarray(0, length));
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

function options(socketPath: string, log: object = {}): TaskOptions {
  return TaskOptions.fromPartial({
    containerId,
    run: 3n,
    log: {
      socketPath,
      socketType: 'unix',
      tag: 'the-tag',
      syslogFacility: 3,
      containerName: 'box',
      imageName: 'img',
      ...log,
    },
  });
}

function piece(text: string, changes: Partial<LogPiece> = {}): LogPiece {
  return {
    stream: 'stdout',
    data: Buffer.from(text),
    atUnixNano: at,
    line: { continuedAtUnixNano: 0n },
    ended: false,
    ...changes,
  };
}

/** Fields of an entry as journald takes them: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. */
function fields(message: Buffer): Record<string, string> {
  const found: Record<string, string> = {};
  for (let start = 0; start < message.length; ) {
    const nameEnd = message.indexOf('\n', start);
    const length = Number(message.readBigUInt64LE(nameEnd + 1));
    const end = nameEnd + 9 + length;
    found[message.toString('utf8', start, nameEnd)] = message.toString('utf8', nameEnd + 9, end);
    assert.equal(message[end], 0x0a);
    start = end + 1;
  }
  return found;
}

test('journald gets the fields that Docker gives it, and those asked for', () => {
  using daemon = new Daemon();
  using log = new JournaldLog(options(daemon.path, { attributes: { 'com.example/x': 'two\nlines', _HOSTNAME: 'h' } }));
  assert.equal(log.write(piece('a\nunfinished', { stream: 'stderr', ended: true })), 12);
  const [first, second] = daemon.messages().map(fields);
  assert.deepEqual(first, {
    COM_EXAMPLE_X: 'two\nlines',
    HOSTNAME: 'h',
    CONTAINER_ID: containerId.slice(0, 12),
    CONTAINER_ID_FULL: containerId,
    CONTAINER_NAME: 'box',
    CONTAINER_TAG: 'the-tag',
    IMAGE_NAME: 'img',
    SYSLOG_IDENTIFIER: 'the-tag',
    CONTAINER_LOG_EPOCH: `${containerId}.3`,
    PRIORITY: '3',
    SYSLOG_TIMESTAMP: '2026-11-24T23:00:00.12Z',
    CONTAINER_LOG_ORDINAL: '0',
    MESSAGE: 'a',
  });
  assert.equal(second?.MESSAGE, 'unfinished');
  assert.equal(second?.CONTAINER_PARTIAL_MESSAGE, 'true');
  assert.equal(second?.CONTAINER_LOG_ORDINAL, '1');
});

for (const [syslogFormat, expected] of [
  ['', /^<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d the-tag\[\d+\]: text$/],
  ['rfc3164', /^<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ the-tag\[\d+\]: text$/],
  ['rfc5424', /^<30>1 2026-11-24T23:00:00Z \S+ the-tag \d+ the-tag - text$/],
  ['rfc5424micro', /^<30>1 2026-11-24T23:00:00\.120000Z \S+ the-tag \d+ the-tag - text$/],
] as const) {
  test(`syslog in format '${syslogFormat}'`, () => {
    using daemon = new Daemon();
    using log = new SyslogLog(options(daemon.path, { syslogFormat }));
    log.write(piece('text\n'));
    assert.match(daemon.messages().join('|'), expected);
  });
}

test('syslog over a stream, where the daemon takes one: messages end with a newline', () => {
  const path = join(folder, 'stream.sock');
  const listening = unixSocket({ nonBlocking: true });
  bindUnix(listening, path);
  listen(listening, 1);
  using log = new SyslogLog(options(path, { syslogFormat: 'rfc5424' }));
  log.write(piece('one\ntwo\n'));
  const connection = accept4(listening)!;
  const buffer = Buffer.alloc(4096);
  const text = buffer.toString('utf8', 0, recv(connection, buffer));
  assert.deepEqual(text.replaceAll(/.* - /g, ''), 'one\ntwo\n');
  for (const fd of [connection, listening]) closeFd(fd);
});

const lines = Array.from({ length: 5_000 }, (_, n) => `line ${n}\n`);
const textOf = (message: Buffer) => `${fields(message).MESSAGE}\n`;

test('a daemon that does not read is busy; once it reads again nothing is missing and nothing doubled', () => {
  using daemon = new Daemon();
  using log = new JournaldLog(options(daemon.path));
  const data = Buffer.from(lines.join(''));
  const got: string[] = [];
  let tries = 0;
  for (let at = 0; at < data.length; ) {
    tries++;
    try {
      at += log.write({ ...piece(''), data: data.subarray(at) });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
      got.push(...daemon.messages().map(textOf));
    }
  }
  got.push(...daemon.messages().map(textOf));
  assert.ok(tries > 1);
  assert.deepEqual(got, lines);
});

test('a daemon that is away is waited for, and another one in its place is found', () => {
  const path = join(folder, 'away.sock');
  using log = new JournaldLog(options(path));
  assert.throws(() => log.write(piece('one\n')), { code: 'ENOENT' });
  {
    using first = new Daemon(path);
    assert.equal(log.writeAgain(piece('one\n'), { file: 0n, offset: 0n }), 4);
    assert.deepEqual(first.messages().map(textOf), ['one\n']);
  }
  assert.throws(() => log.write(piece('two\n')), { code: 'ECONNREFUSED' });
  using second = new Daemon(path);
  log.writeAgain(piece('two\n'), { file: 0n, offset: 1n });
  assert.deepEqual(second.messages().map(textOf), ['two\n']);
});

test('whoever takes over sends what was on its way under the same numbers', () => {
  using daemon = new Daemon();
  const killed = new JournaldLog(options(daemon.path));
  killed.write(piece('zero\n'));
  const { place } = killed;
  killed.write(piece('one\ntwo\n'));
  killed[Symbol.dispose]();
  using successor = new JournaldLog(options(daemon.path));
  successor.writeAgain(piece('one\ntwo\n'), place);
  successor.write(piece('three\n'));
  assert.deepEqual(
    daemon.messages().map((message) => `${fields(message).CONTAINER_LOG_ORDINAL} ${fields(message).MESSAGE}`),
    ['0 zero', '1 one', '2 two', '1 one', '2 two', '3 three'],
  );
});
