import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { Paths } from '@flotilla/config';
import { isErrno, setSynchronous } from '@flotilla/linux';
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
 * `2.10.7`, or an empty text when there is no nats-server to ask. Synchronous, because whoever asks may be reaping the
 * children that it does not know (adopt-orphans.ts).
 */
function natsVersion(path: string | undefined): string {
  const { stdout } = spawnSync('nats-server', ['--version'], { env: { PATH: path }, encoding: 'utf8' });
  return stdout?.match(/v(\d+[.]\d+[.]\d+)/)?.[1] ?? '';
}

/** Each message on disk before its ack. Releases before 2.10 refuse the setting: `writeThrough` is for them. */
export function syncSettings(version: string): { readonly sync_interval?: 'always' } {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 10) ? { sync_interval: 'always' } : {};
}

/**
 * Releases before 2.10 write each message before its ack, but flush every two minutes only: a power cut would cost the events
 * of that time, which nobody else has any more. So the file system is told to write through, which costs a publisher a
 * millisecond a message. Also what earlier starts have left in the folder.
 */
function writeThrough(folder: string): void {
  try {
    for (const name of ['.', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })]) {
      const fd = openSync(join(folder, name), 'r');
      try {
        setSynchronous(fd);
      } finally {
        closeSync(fd);
      }
    }
  } catch (error) {
    if (!isErrno(error, 'ENOTTY', 'EOPNOTSUPP', 'EINVAL')) throw error;
    // A file system that cannot: after a power cut the history may end up to two minutes early.
  }
}

/**
 * Writes the settings of this instance's own NATS server, before each of its starts: JetStream below FLOTILLA_ROOT, and a
 * password, because any local user can reach a loopback port. Port and password
 * stay the same for as long as the instance is up, unless somebody took the port meanwhile. `path` is where nats-server is
 * looked for.
 */
export async function configureNats(paths: Paths, path: string | undefined): Promise<void> {
  const files = instanceFiles(paths);
  makePrivateFolder(files.natsData);
  const sync = syncSettings(natsVersion(path));
  if (sync.sync_interval === undefined) writeThrough(files.natsData);
  const before = readUrl(files.natsUrl);
  const port = (before && (await tryPort(Number(before.port)))) ?? (await tryPort(0));
  const password = before?.password ?? randomBytes(18).toString('base64url');
  const settings = {
    listen: `127.0.0.1:${port}`,
    server_name: paths.instance,
    // Without a figure NATS promises no more than three quarters of what is free now, and refuses the stream on small disks.
    jetstream: { store_dir: files.natsData, max_file_store: mostStoredBytes, ...sync },
    authorization: { user: 'flotilla', password },
  };
  // The configuration language of NATS is a superset of JSON.
  replaceFile(files.natsConfig, `${JSON.stringify(settings, undefined, 2)}\n`);
  replaceFile(files.natsUrl, `nats://flotilla:${password}@127.0.0.1:${port}\n`);
}
