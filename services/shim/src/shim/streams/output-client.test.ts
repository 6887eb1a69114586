import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { type ClientMessage, OutputClient } from './output-client.ts';

test('a client whose output does not stop learns how much of its input was taken', async () => {
  const client = new OutputClient({ streams: new Set(['stdout']), limitBytes: 1 << 20, onBehind: () => {} });
  const messages = client[Symbol.asyncIterator]();
  const kinds: ClientMessage['kind'][] = [];
  client.push('stdout', Buffer.from('x'), 0);
  for (let i = 1; i <= 100; i++) {
    client.push('stdout', Buffer.from('x'), i); // as fast as it is read
    client.inputTaken({ messages: i, bytes: 0 });
    const { value } = await messages.next();
    if (value === undefined) break;
    kinds.push(value.kind);
  }
  const told = kinds.filter((kind) => kind === 'inputTaken').length;
  assert.ok(told >= 3 && told < 10, `${told} of ${kinds.length}`);
});

test('the last word on the input comes behind the output, and before the failure of the call', async () => {
  const client = new OutputClient({ streams: new Set(['stdout']), limitBytes: 1 << 20, onBehind: () => {} });
  client.push('stdout', Buffer.from('x'), 0);
  client.inputTaken({ messages: 1, bytes: 0 });
  client.inputTaken({ messages: 2, bytes: 3 });
  client.fail(new FlotillaError('unavailable', 'another takes over', { reason: 'SHIM_REPLACED' }));
  const seen: ClientMessage[] = [];
  const read = async () => {
    for await (const message of client) seen.push(message);
  };
  await assert.rejects(read(), { reason: 'SHIM_REPLACED' });
  assert.deepEqual(seen.slice(1), [{ kind: 'inputTaken', messages: 2, bytes: 3 }]);
  assert.equal(seen[0]?.kind, 'output');
});
