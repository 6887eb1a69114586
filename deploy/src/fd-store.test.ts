import assert from 'node:assert/strict';
import { existsSync, fstatSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, duplicateFd, NotifySocket, pipe2 } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { FdStore } from './fd-store.ts';
import { type InstanceFiles, instanceFiles, makeInstanceFolders } from './instance-files.ts';
import { KeptProcess } from './kept-process.ts';
import { openListeningSocket } from './listening-socket.ts';
import { NotifyServer } from './notify-server.ts';
import type { Release } from './release.ts';

const log = createLogger({ service: 'keeper', level: 'silent' });
const release: Release = { dir: '/', version: '0', node: process.execPath, services: [], keeperMain: undefined };
let folder: string;
let files: InstanceFiles;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flotilla-fds-'));
  const paths = { root: join(folder, 'root'), run: join(folder, 'run'), instance: 'test' };
  files = instanceFiles(paths);
  makeInstanceFolders(paths);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** For programs that do not lie beside their packages. */
const linux = import.meta.resolve('@flotilla/linux');
/** Writes what it was started with into a file, stores a pipe's end, and waits to be killed. */
const program = `
import { readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { NotifySocket, pipe2 } from '${linux}';
const names = process.env.LISTEN_FDNAMES.split(':');
const told = { pid: process.pid, names, count: process.env.LISTEN_FDS, for: process.env.LISTEN_PID,
  links: names.map((_, i) => readlinkSync('/proc/self/fd/' + (3 + i))) };
const notify = NotifySocket.open(process.env.NOTIFY_SOCKET);
if (names.length === 1) {
  const { writeFd } = pipe2();
  told.stored = readlinkSync('/proc/self/fd/' + writeFd);
  notify.send({ FDSTORE: '1', FDNAME: 'stdin-a', FDPOLL: '0' }, [writeFd]);
  notify.send({ FDSTORE: '1', FDNAME: 'stdin-b', FDPOLL: '0' }, [writeFd]);
  notify.send({ FDSTOREREMOVE: '1', FDNAME: 'stdin-b' });
}
writeFileSync(process.argv[2] + '.new', JSON.stringify(told));
renameSync(process.argv[2] + '.new', process.argv[2]);
if (names.length === 1) process.kill(process.pid, 'SIGKILL');
notify.send({ READY: '1', STATUS: 'well' });
setInterval(() => {}, 1000);
`;

async function waitFor<T>(find: () => T | undefined): Promise<T> {
  for (let i = 0; i < 1_000; i += 1) {
    const found = find();
    if (found !== undefined) return found;
    await sleep(20);
  }
  throw new Error('not within 20 s');
}

test('what a process stores is handed to the next one behind its socket, also when it is killed the moment it sent it', async () => {
  const script = join(folder, 'program.mjs');
  writeFileSync(script, program);
  const report = join(folder, 'report');
  const path = join(folder, 'one.sock');
  const socketFd = openListeningSocket(path);
  using notify = new NotifyServer(files.notifySocket, (notice) => {
    if (!one.hear(notice)) for (const fd of notice.fds) closeFd(fd);
  });
  const plan = {
    name: 'one',
    command: () => ({ command: process.execPath, args: [script, report] }),
    env: { ...process.env, NOTIFY_SOCKET: notify.path },
    logFd: openSync(join(folder, 'log'), 'a'),
    socketFd,
    drainNotices: () => notify.drain(),
  };
  const one = new KeptProcess(plan, release, files, log);
  one.start();
  try {
    const read = () => (existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined);
    const first = await waitFor(read);
    assert.deepEqual(first.names, ['one']);
    const second = await waitFor(() => (read().pid === first.pid ? undefined : read()));
    assert.deepEqual(second.names, ['one', 'stdin-a']);
    assert.equal(second.count, '2');
    assert.equal(second.for, String(second.pid));
    assert.deepEqual(second.links, [first.links[0], first.stored]);
    await waitFor(() => (one.current?.isReady === true ? true : undefined));
    assert.equal(one.status, 'well');

    // Anybody else who finds the socket is not listened to.
    const { readFd, writeFd } = pipe2();
    using stranger = NotifySocket.open(notify.path);
    stranger.send({ FDSTORE: '1', FDNAME: 'evil', READY: '1' }, [writeFd]);
    notify.drain();
    assert.deepEqual(
      one.store.all.map(({ name }) => name),
      ['stdin-a'],
    );
    for (const fd of [readFd, writeFd]) closeFd(fd);
  } finally {
    await one.stop(1_000);
    one.store[Symbol.dispose]();
  }
});

/** Stores so many descriptors as fast as the manager hears, and is killed; the next one tells how many it was given. */
const hoarder = `
import { writeFileSync } from 'node:fs';
import { NotifySocket, pipe2, poll, POLLOUT } from '${linux}';
const count = Number(process.argv[3]);
const notify = NotifySocket.open(process.env.NOTIFY_SOCKET);
if (process.env.LISTEN_FDS === '1') {
  const { writeFd } = pipe2();
  for (let i = 0; i < count; i++) {
    const fields = { FDSTORE: '1', FDNAME: 'p' + i.toString(16).padStart(16, '0'), FDPOLL: '0' };
    while (!notify.send(fields, [writeFd])) poll([{ fd: notify.fd, events: POLLOUT }], 1000);
  }
  process.kill(process.pid, 'SIGKILL');
}
writeFileSync(process.argv[2], process.env.LISTEN_FDS + ' ' + process.env.LISTEN_FDNAMES.split(':').length);
setInterval(() => {}, 1000);
`;

test('what is kept of 2,000 containers comes back', async () => {
  const count = 6_000; // init, stdout and stderr of each
  const script = join(folder, 'hoarder.mjs');
  writeFileSync(script, hoarder);
  const report = join(folder, 'report');
  using notify = new NotifyServer(files.notifySocket, (notice) => void one.hear(notice));
  const plan = {
    name: 'one',
    command: () => ({ command: process.execPath, args: [script, report, String(count)] }),
    env: { ...process.env, NOTIFY_SOCKET: notify.path },
    logFd: openSync(join(folder, 'log'), 'a'),
    socketFd: openListeningSocket(join(folder, 'one.sock')),
    drainNotices: () => notify.drain(),
  };
  const one = new KeptProcess(plan, release, files, log);
  one.start();
  try {
    const text = () => (existsSync(report) && readFileSync(report, 'utf8')) || undefined;
    assert.equal(await waitFor(text), `${count + 1} ${count + 1}`);
  } finally {
    await one.stop(1_000);
    one.store[Symbol.dispose]();
  }
});

test('a copy of what is there is not kept twice, and names cannot outgrow what execve takes', () => {
  mkdirSync(folder, { recursive: true });
  const { readFd, writeFd } = pipe2();
  using store = new FdStore();
  assert.ok(store.add('a', duplicateFd(writeFd)));
  assert.ok(store.add('a', duplicateFd(writeFd)));
  assert.ok(store.add('a', duplicateFd(readFd)), 'the other end has the same inode, but is another thing');
  assert.equal(store.all.length, 2);
  const refused = duplicateFd(writeFd);
  assert.equal(store.add('x'.repeat(128 * 1024), refused), false);
  assert.throws(() => fstatSync(refused), { code: 'EBADF' });
  store.remove('a');
  assert.equal(store.all.length, 0);
  for (const fd of [readFd, writeFd]) closeFd(fd);
});
