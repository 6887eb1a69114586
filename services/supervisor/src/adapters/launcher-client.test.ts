import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DeepPartial, LauncherReply, LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame, LauncherClient, readFrame } from './launcher-client.ts';

function setUp(deadlineMs = 2_000) {
  const folder = mkdtempSync(join(tmpdir(), 'launcher-'));
  const socketPath = join(folder, 'l.sock');
  const client = new LauncherClient({ socketPath, shimDir: (containerId) => `/run/${containerId}`, deadlineMs });
  return { client, socketPath, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

/** Answers each connection once its request is whole, in two pieces. */
function serveReplies(
  path: string,
  answer: (request: LauncherRequest, socket: Socket) => DeepPartial<LauncherReply> | undefined,
) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    let received = Buffer.alloc(0);
    socket.on('data', async (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const message = readFrame(received);
      if (message === undefined) return;
      const reply = answer(LauncherRequest.decode(message), socket);
      if (reply === undefined) {
        socket.destroy();
        return;
      }
      const frame = encodeFrame(LauncherReply.encode(LauncherReply.fromPartial(reply)).finish());
      socket.write(frame.subarray(0, 1));
      await sleep(5);
      socket.end(frame.subarray(1));
    });
  }).listen(path);
  return { [Symbol.dispose]: () => void server.close() };
}

test('a launch is asked for and answered, also when the launcher comes late or hangs up once', async () => {
  using set = setUp();
  const launching = set.client.launch('c1', 3);
  await sleep(50);
  let calls = 0;
  using _server = serveReplies(set.socketPath, ({ request }) => {
    if (calls++ === 0) return undefined;
    assert.deepEqual(request, {
      $case: 'launch',
      value: { containerId: 'c1', run: 3n, shimDir: '/run/c1', requestId: '' },
    });
    return { reply: { $case: 'launch', value: { shimPid: 5, initPid: 6, warnings: ['w'.repeat(500)] } } };
  });
  assert.deepEqual(await launching, { shimPid: 5, initPid: 6, warnings: ['w'.repeat(500)], keptDescriptors: [] });
  assert.equal(calls, 2);
});

test('an error is thrown as the launcher says it', async () => {
  using set = setUp();
  using _server = serveReplies(set.socketPath, () => ({
    reply: {
      $case: 'error',
      value: { code: 5, message: 'no', reason: 'COMMAND_NOT_FOUND', metadata: { command: 'x' } },
    },
  }));
  await assert.rejects(set.client.launch('c1', 1), {
    code: 'not_found',
    reason: 'COMMAND_NOT_FOUND',
    message: 'no',
    metadata: { command: 'x' },
  });
});

test('a launcher that is not there, or does not answer, is named at the deadline', async () => {
  using set = setUp(150);
  const gone = {
    code: 'unavailable',
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { service: 'launcher', deadlineMs: '150' },
  };
  await assert.rejects(set.client.launch('c1', 1), gone);
  const silent = createServer(() => {}).listen(set.socketPath);
  await assert.rejects(set.client.forkMode(), gone);
  silent.close();
});
