import assert from 'node:assert/strict';
import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { closeFd, pipe2 } from './descriptors.ts';
import { libc } from './libc.ts';
import { NotifySocket } from './notify.ts';
import { recvFds } from './sockets.ts';
import { check } from './syscall-error.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cBind = libc.func('int bind(int fd, void *address, unsigned int length)');
const folder = mkdtempSync('/tmp/fl-notify-');
test.after(() => rmSync(folder, { recursive: true }));

/** A datagram socket that the kernel has made, bound by hand. */
function bindDatagram(address: string): number {
  const fd = check(cSocket(1, 2, 0), 'socket');
  const bytes = Buffer.from(`\x01\0${address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`}`, 'latin1');
  check(cBind(fd, bytes, bytes.length), 'bind', address);
  return fd;
}

for (const address of [join(folder, 'notify.sock'), `@fl-notify-test-${process.pid}`]) {
  test(`fields and descriptors reach ${address.startsWith('@') ? 'an abstract name' : 'a path'}`, () => {
    const manager = bindDatagram(address);
    const { readFd, writeFd } = pipe2();
    using socket = NotifySocket.open(address);
    assert.ok(socket.send({ READY: '1' }));
    assert.ok(socket.send({ FDSTORE: '1', FDNAME: 'stdin-abc', FDPOLL: '0' }, [writeFd]));
    const buffer = Buffer.alloc(100);
    assert.deepEqual(recvFds(manager, buffer), { length: 7, fds: [] });
    assert.equal(buffer.toString('latin1', 0, 7), 'READY=1');
    const { length, fds } = recvFds(manager, buffer)!;
    assert.equal(buffer.toString('latin1', 0, length), 'FDSTORE=1\nFDNAME=stdin-abc\nFDPOLL=0');
    assert.equal(fds.length, 1);
    assert.notEqual(fds[0], writeFd);
    assert.equal(fstatSync(fds[0]!).ino, fstatSync(writeFd).ino, 'a copy of the same pipe');
    for (const fd of [manager, readFd, writeFd, ...fds]) closeFd(fd);
  });
}

test('a full queue is said and not waited for, and goes on when there is room', () => {
  const address = join(folder, 'full.sock');
  const manager = bindDatagram(address);
  using socket = NotifySocket.open(address);
  let sent = 0;
  while (socket.send({ STATUS: String(sent) })) sent++;
  assert.ok(sent > 0);
  recvFds(manager, Buffer.alloc(100));
  assert.ok(socket.send({ STATUS: 'more' }));
  closeFd(manager);
  assert.throws(() => socket.send({ STATUS: 'to nobody' }), { code: 'ECONNREFUSED' });
});

test('an address of nobody, or of another kind, is an error and leaves nothing open', () => {
  const free = pipe2();
  closeFd(free.readFd);
  closeFd(free.writeFd);
  assert.throws(() => NotifySocket.open(join(folder, 'nobody')), { code: 'ENOENT' });
  for (const wrong of ['', 'relative', 'vsock:2:1234', `/${'x'.repeat(108)}`]) {
    assert.throws(() => NotifySocket.open(wrong), RangeError);
  }
  const again = pipe2();
  assert.deepEqual(again, free, 'the same numbers are free');
  closeFd(again.readFd);
  closeFd(again.writeFd);
});
