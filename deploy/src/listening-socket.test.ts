import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { closeFd } from '@flotilla/linux';
import { firstPassedDescriptor, openListeningSocket, takeListeningSocket } from './listening-socket.ts';

test('who connects while no service listens is served by the next, on a socket taken from the last', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-socket-'));
  const path = join(folder, 'x.sock');
  const fd = openListeningSocket(path);
  const holder = spawn('sleep', ['600'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
  try {
    closeFd(fd); // as when the keeper dies: the service alone has it now
    const waiting = connect(path);
    await once(waiting, 'connect');
    const taken = takeListeningSocket(path, holder.pid ?? 0);
    assert.ok(taken !== undefined);
    const server = createServer((socket) => socket.end('served')).listen({ fd: taken });
    const [data] = (await once(waiting, 'data')) as [Buffer];
    assert.equal(data.toString(), 'served');
    server.close();

    assert.equal(takeListeningSocket(join(folder, 'another.sock'), holder.pid ?? 0), undefined);
    assert.equal(
      takeListeningSocket(path, process.pid),
      undefined,
      `descriptor ${firstPassedDescriptor} is another thing`,
    );
  } finally {
    holder.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
});
