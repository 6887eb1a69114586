import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectHttp2, createServer, type ServerHttp2Session } from 'node:http2';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@flotilla/log';
import { VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { connect } from './connect.ts';
import { flowControlWindow } from './flow-control.ts';
import { serve } from './serve.ts';

const folder = mkdtempSync(join(tmpdir(), 'flotilla-window-'));
after(() => rmSync(folder, { recursive: true }));
const log = createLogger({ service: 'test', level: 'silent' });

test('a server lets its clients send as much ahead', { timeout: 10_000 }, async () => {
  const socketPath = join(folder, 'server.sock');
  await using _server = await serve({ socketPath, implementations: [], service: 'test', log, drainMs: 100 });
  const session = connectHttp2('http://localhost', { createConnection: () => createConnection(socketPath) });
  try {
    const call = session.request({
      ':method': 'POST',
      ':path': VersionServiceService.version.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    call.on('error', () => {});
    while (session.remoteSettings.initialWindowSize !== flowControlWindow) await sleep(5);
    while ((session.state.remoteWindowSize ?? 0) < flowControlWindow) await sleep(5);
    assert.equal(session.state.remoteWindowSize, flowControlWindow);
    call.close();
  } finally {
    session.destroy();
  }
});

test('a client lets its server send as much ahead', { timeout: 10_000 }, async () => {
  const socketPath = join(folder, 'client.sock');
  const server = createServer().listen(socketPath);
  await once(server, 'listening');
  const opened = once(server, 'session') as Promise<[ServerHttp2Session]>;
  using client = connect(VersionServiceService, { address: `unix://${socketPath}`, name: 'test' });
  const answer = client.version({}).catch(() => {});
  const [session] = await opened;
  try {
    while (session.remoteSettings.initialWindowSize !== flowControlWindow) await sleep(5);
    while ((session.state.remoteWindowSize ?? 0) < flowControlWindow) await sleep(5);
    assert.equal(session.state.remoteWindowSize, flowControlWindow);
  } finally {
    session.destroy();
    client[Symbol.dispose]();
    server.close();
    await answer;
  }
});
