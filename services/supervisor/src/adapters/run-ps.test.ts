import assert from 'node:assert/strict';
import process from 'node:process';
import { test } from 'node:test';
import { runPs } from './run-ps.ts';

const never = new AbortController().signal;

test('prints this process', async () => {
  const printed = await runPs(['-o', 'pid,ppid', '-p', String(process.pid)], never);
  assert.match(printed, new RegExp(`PID +PPID\\n *${process.pid} +${process.ppid}\\n`));
});

test('no process chosen is a table without lines', async () => {
  assert.match(await runPs(['-o', 'pid,cmd', '-p', '4194304'], never), /^\s+PID CMD\n$/);
});

test('no shell reads the arguments, and those that ps refuses are named', async () => {
  const wrong = { reason: 'INVALID_FIELD', message: /ps_args/ };
  for (const args of [['--no-such-option'], ['$(id)'], ['-o', 'pid;id'], ['-o', 'no_such_column']]) {
    await assert.rejects(runPs(args, never), wrong, args.join(' '));
  }
});

test('ends when the caller goes', async () => {
  await assert.rejects(runPs(['-ef'], AbortSignal.abort()), { reason: 'CANCELLED' });
});
