import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { preloadRuntime } from '@flotilla/libcontainer';
import { createLogger } from '@flotilla/log';
import { VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { connect, serve } from '@flotilla/rpc';

const calls = 10;

/** Serves gRPC and calls it, as a shim does, on a socket of its own; then closes all of it. */
export async function warmUp(): Promise<void> {
  preloadRuntime();
  const folder = mkdtempSync(join(process.env.FLOTILLA_RUN ?? tmpdir(), 'warm-'));
  const log = createLogger({ service: 'launcher', level: 'silent' });
  try {
    const socketPath = join(folder, 's');
    await using _server = await serve({
      socketPath,
      implementations: [],
      service: 'shim',
      log,
      usePassedSocket: false,
      drainMs: 100,
    });
    using client = connect(VersionServiceService, { address: `unix://${socketPath}`, name: 'shim' });
    for (let i = 0; i < calls; i++) await client.version({});
  } finally {
    rmSync(folder, { recursive: true });
  }
}
