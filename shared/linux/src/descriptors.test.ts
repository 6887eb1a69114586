import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { test } from 'node:test';
import { O_NONBLOCK, POLLHUP, POLLIN, POLLOUT } from './constants.ts';
import {
  closeFd,
  dup3,
  duplicateFd,
  eventfd,
  getCloseOnExec,
  getPipeSize,
  getStatusFlags,
  pipe2,
  poll,
  readFd,
  setCloseOnExec,
  setNonBlocking,
  setPipeSize,
  writeFd,
} from './descriptors.ts';

test('a pipe carries bytes, is empty without blocking, and ends', () => {
  const { readFd: from, writeFd: to } = pipe2(O_NONBLOCK);
  const buffer = Buffer.alloc(16);
  assert.equal(readFd(from, buffer), undefined);
  assert.equal(writeFd(to, Buffer.from('bytes')), 5);
  assert.equal(readFd(from, buffer), 5);
  assert.equal(buffer.toString('latin1', 0, 5), 'bytes');
  closeFd(to);
  assert.equal(readFd(from, buffer), 0);
  closeFd(from);
});

test('poll says what each descriptor is ready for, and times out', () => {
  const { readFd: from, writeFd: to } = pipe2();
  const started = performance.now();
  assert.deepEqual(poll([{ fd: from, events: POLLIN }], 20), [0]);
  assert.ok(performance.now() - started >= 19);
  writeFd(to, Buffer.from('x'));
  const watched = [
    { fd: from, events: POLLIN },
    { fd: to, events: POLLOUT },
  ];
  assert.deepEqual(poll(watched, -1), [POLLIN, POLLOUT]);
  closeFd(to);
  assert.deepEqual(poll([{ fd: from, events: POLLIN }], 0), [POLLIN | POLLHUP]);
  closeFd(from);
});

test('descriptors are close-on-exec until told otherwise', () => {
  const { readFd: from, writeFd: to } = pipe2();
  const copy = duplicateFd(from, 100);
  assert.ok(copy >= 100);
  for (const fd of [from, to, copy]) assert.equal(getCloseOnExec(fd), true);
  setCloseOnExec(to, false);
  assert.equal(getCloseOnExec(to), false);
  dup3(from, to, { closeOnExec: false });
  assert.equal(getCloseOnExec(to), false);
  assert.equal(fstatSync(from).ino, fstatSync(to).ino);
  for (const fd of [from, to, copy]) closeFd(fd);
  assert.throws(() => closeFd(copy), { code: 'EBADF', syscall: 'close' });
});

test('flags and the size of a pipe can be read and set', () => {
  const { readFd: from, writeFd: to } = pipe2();
  setNonBlocking(to, true);
  assert.ok(getStatusFlags(to) & O_NONBLOCK);
  setNonBlocking(to, false);
  assert.equal(getStatusFlags(to) & O_NONBLOCK, 0);
  assert.equal(setPipeSize(to, 8192), 8192);
  assert.equal(getPipeSize(from), 8192);
  closeFd(from);
  closeFd(to);
});

test('an eventfd counts', () => {
  const fd = eventfd(3);
  const value = new BigUint64Array(1);
  writeFd(fd, new Uint8Array(BigUint64Array.of(4n).buffer));
  assert.equal(readFd(fd, new Uint8Array(value.buffer)), 8);
  assert.equal(value[0], 7n);
  assert.equal(readFd(fd, new Uint8Array(value.buffer)), undefined);
  closeFd(fd);
});
