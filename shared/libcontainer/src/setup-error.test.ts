import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SyscallError } from '@flotilla/linux';
import { fromErrorMessage, setupError, toErrorMessage } from './setup-error.ts';

const enospc = 28;
const failed = (syscall: string) => new SyscallError(syscall, enospc, 'hostname');

test('a file for which there is no room: the disk is full, also on the other side of the channel', () => {
  const error = setupError('mount bind at /etc/hostname', failed('openat2'));
  for (const one of [error, fromErrorMessage(toErrorMessage(error))]) {
    assert.equal(one.code, 'resource_exhausted');
    assert.equal(one.reason, 'DISK_FULL');
    assert.equal(one.message, 'cannot mount bind at /etc/hostname: the disk is full');
  }
});

test('too many namespaces are no full disk', () => {
  assert.equal(setupError('make namespaces', failed('unshare')).reason, 'CONTAINER_SETUP_FAILED');
});
