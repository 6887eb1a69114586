import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { after, test } from 'node:test';
import { createLogger } from '@flotilla/log';
import { VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { connect } from './connect.ts';
import { serve } from './serve.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'needs root: FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync('/tmp/fl-peer-');
after(() => rmSync(folder, { recursive: true }));

/** The first frames of HTTP/2 and what comes back: 200 or the trailers of an error, as far as text shows it. */
const stranger = `
const http2 = require('node:http2');
const session = http2.connect('http://x', { createConnection: () => require('node:net').connect('${folder}/s') });
const call = session.request({ ':method': 'POST', ':path': '/flotilla.v1.VersionService/Version',
  'content-type': 'application/grpc', te: 'trailers' });
let status = '';
const note = (headers) => { status = headers['grpc-status'] ?? status; };
call.on('response', note).on('trailers', note).on('error', () => {}).on('data', () => {});
call.on('close', () => { console.log('status ' + status); process.exit(0); });
call.end(Buffer.from([0, 0, 0, 0, 0]));
`;

async function askAs(uid: number): Promise<string> {
  const child = spawn('/proc/self/exe', ['-e', stranger], {
    uid,
    gid: uid,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
  });
  await once(child, 'close');
  return text.trim();
}

test('a peer that is neither root nor our user is refused, also where the files let it in', { skip }, async () => {
  const log = createLogger({ service: 'test', level: 'silent' });
  await using _server = await serve({
    socketPath: `${folder}/s`,
    implementations: [],
    service: 'test',
    log,
    drainMs: 50,
  });
  chmodSync(folder, 0o755);
  chmodSync(`${folder}/s`, 0o666);
  assert.equal(await askAs(65_534), 'status 7', 'PERMISSION_DENIED');
  assert.equal(await askAs(0), 'status 0');
  using client = connect(VersionServiceService, { address: `unix://${folder}/s`, name: 'test' });
  assert.equal((await client.version({})).service, 'test');
});
