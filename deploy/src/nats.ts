import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import type { Paths } from '@flotilla/config';
import { instanceFiles, makePrivateFolder, replaceFile } from './instance-files.ts';

/** Twice what the event stream may take. */
const mostStoredBytes = 2 * 2 ** 30;

/** Listens on a loopback port (0: any) for a moment; the port, or undefined when it is taken. */
async function tryPort(wanted: number): Promise<number | undefined> {
  const server = createServer().listen(wanted, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return undefined;
  }
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function readUrl(path: string): URL | undefined {
  try {
    return new URL(readFileSync(path, 'utf8').trim());
  } catch {
    return undefined;
  }
}

/**
 * Writes the settings of this instance's own NATS server, before each of its starts: JetStream below FLOTILLA_ROOT, each
 * message on disk before its ack, and a password, because any local user can reach a loopback port. Port and password
 * stay the same for as long as the instance is up, unless somebody took the port meanwhile.
 */
export async function configureNats(paths: Paths): Promise<void> {
  const files = instanceFiles(paths);
  makePrivateFolder(files.natsData);
  const before = readUrl(files.natsUrl);
  const port = (before && (await tryPort(Number(before.port)))) ?? (await tryPort(0));
  const password = before?.password ?? randomBytes(18).toString('base64url');
  const settings = {
    listen: `127.0.0.1:${port}`,
    server_name: paths.instance,
    // Without a figure NATS promises no more than three quarters of what is free now, and refuses the stream on small disks.
    jetstream: { store_dir: files.natsData, max_file_store: mostStoredBytes },
    authorization: { user: 'flotilla', password },
  };
  // The configuration language of NATS is a superset of JSON.
  replaceFile(files.natsConfig, `${JSON.stringify(settings, undefined, 2)}\n`);
  replaceFile(files.natsUrl, `nats://flotilla:${password}@127.0.0.1:${port}\n`);
}
