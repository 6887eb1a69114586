import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { POLLIN } from './constants.ts';
import { closeFd, getCloseOnExec, pipe2, poll, readFd, writeFd } from './descriptors.ts';
import { getpid } from './process.ts';
import {
  accept4,
  bindUnix,
  connectUnix,
  getPeerCredentials,
  listen,
  recv,
  recvFds,
  send,
  sendFds,
  unixSocket,
  unixSocketPair,
} from './sockets.ts';

const folder = mkdtempSync('/tmp/fl-sockets-');
test.after(() => rmSync(folder, { recursive: true }));

test('a client connects, is known, talks and leaves', () => {
  const path = `${folder}/a.sock`;
  const listener = unixSocket({ nonBlocking: true });
  bindUnix(listener, path);
  listen(listener, 8);
  assert.equal(accept4(listener), undefined);
  const client = unixSocket();
  connectUnix(client, path);
  assert.deepEqual(poll([{ fd: listener, events: POLLIN }], 1_000), [POLLIN]);
  const server = accept4(listener)!;
  assert.equal(getCloseOnExec(server), true);
  assert.deepEqual(getPeerCredentials(server), { pid: getpid(), uid: process.getuid!(), gid: process.getgid!() });
  const buffer = Buffer.alloc(8);
  assert.equal(recv(server, buffer), undefined);
  send(client, Buffer.from('hi'));
  assert.equal(recv(server, buffer), 2);
  closeFd(client);
  assert.equal(recv(server, buffer), 0);
  closeFd(server);
  closeFd(listener);
  assert.throws(() => connectUnix(unixSocket(), path), { code: 'ECONNREFUSED', path });
});

for (const path of ['', `/tmp/${'x'.repeat(102)}`, '/tmp/a\0b']) {
  test(`the socket path ${JSON.stringify(path.slice(0, 20))} (${path.length} bytes) is refused`, () => {
    const fd = unixSocket();
    assert.throws(() => bindUnix(fd, path), RangeError);
    closeFd(fd);
  });
}

test('descriptors travel with bytes', () => {
  const [one, two] = unixSocketPair();
  const { readFd: from, writeFd: to } = pipe2();
  assert.equal(sendFds(one, Buffer.from('take'), [to, from, to]), 4);
  closeFd(to);
  const buffer = Buffer.alloc(16);
  const received = recvFds(two, buffer)!;
  assert.equal(buffer.toString('latin1', 0, received.length), 'take');
  assert.equal(received.fds.length, 3);
  writeFd(received.fds[0]!, Buffer.from('!'));
  assert.equal(readFd(from, buffer), 1);
  for (const fd of received.fds) assert.equal(getCloseOnExec(fd), true);
  send(one, Buffer.from('x'));
  assert.deepEqual(recvFds(two, buffer), { length: 1, fds: [] });
  for (const fd of [one, two, from, ...received.fds]) closeFd(fd);
});
