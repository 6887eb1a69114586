import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { closeFd, pipe2, readFd, writeFd } from './descriptors.ts';
import {
  getTerminalMode,
  getTerminalNumber,
  getTerminalSize,
  isTerminal,
  openTerminalMaster,
  openTerminalPeer,
  setRawMode,
  setTerminalMode,
  setTerminalSize,
} from './terminal.ts';

test('a terminal has a size, echoes in its usual mode and passes every byte in raw mode', () => {
  const master = openTerminalMaster();
  const peer = openTerminalPeer(master);
  assert.equal(readlinkSync(`/proc/self/fd/${peer}`), `/dev/pts/${getTerminalNumber(master)}`);
  setTerminalSize(master, { columns: 132, rows: 43 });
  assert.deepEqual(getTerminalSize(peer), { columns: 132, rows: 43 });

  const buffer = Buffer.alloc(16);
  writeFd(peer, Buffer.from('a\n'));
  assert.equal(buffer.toString('latin1', 0, readFd(master, buffer)), 'a\r\n');
  const before = setRawMode(peer);
  writeFd(peer, Buffer.from('a\n'));
  assert.equal(buffer.toString('latin1', 0, readFd(master, buffer)), 'a\n');
  setTerminalMode(peer, before);
  assert.deepEqual(getTerminalMode(peer), before);
  closeFd(peer);
  closeFd(master);
});

test('a pipe is no terminal', () => {
  const { readFd: from, writeFd: to } = pipe2();
  assert.equal(isTerminal(from), false);
  assert.throws(() => getTerminalSize(from), { code: 'ENOTTY' });
  assert.throws(() => getTerminalMode(from), { code: 'ENOTTY' });
  closeFd(from);
  closeFd(to);
});
