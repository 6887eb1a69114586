import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import type { Paths } from '@flotilla/config';
import { instanceFiles, makePrivateFolder, replaceFile } from './instance-files.ts';

async function freeLoopbackPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Writes the settings of this instance's own NATS server: a loopback port that stays the same for as long as the
 * instance is up, JetStream below FLOTILLA_ROOT, and a password, because any local user can reach a loopback port.
 */
export async function configureNats(paths: Paths): Promise<{ readonly configPath: string; readonly url: string }> {
  const files = instanceFiles(paths);
  if (existsSync(files.natsConfig) && existsSync(files.natsUrl)) {
    return { configPath: files.natsConfig, url: readFileSync(files.natsUrl, 'utf8').trim() };
  }
  makePrivateFolder(files.natsData);
  const port = await freeLoopbackPort();
  const password = randomBytes(18).toString('base64url');
  const settings = {
    listen: `127.0.0.1:${port}`,
    server_name: paths.instance,
    jetstream: { store_dir: files.natsData },
    authorization: { user: 'flotilla', password },
  };
  // The configuration language of NATS is a superset of JSON.
  replaceFile(files.natsConfig, `${JSON.stringify(settings, undefined, 2)}\n`);
  const url = `nats://flotilla:${password}@127.0.0.1:${port}`;
  replaceFile(files.natsUrl, `${url}\n`);
  return { configPath: files.natsConfig, url };
}
