import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import process from 'node:process';
import { type Engine, retryWhileUnavailable } from '@flotilla/client';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { CreateContainerRequest, type CreateContainerResponse } from '@flotilla/proto/flotilla/v1/container';
import { warn } from '../failure.ts';
import { buildContainerConfig, type ClientHost } from '../flags/container-config.ts';
import type { ContainerFlags } from '../flags/container-flags.ts';
import { parsePullPolicy, withImage } from './provide-image.ts';

/** What the flags may refer to, on this host. */
export function clientHost(): ClientHost {
  return {
    env: process.env,
    cwd: process.cwd(),
    selinux: existsSync('/sys/fs/selinux/enforce'),
    readFile(path) {
      try {
        return readFileSync(path, 'utf8');
      } catch (cause) {
        throw new FlotillaError('invalid_argument', `file ${path} cannot be read: ${(cause as Error).message}`, {
          reason: 'INVALID_FILE',
          metadata: { field: `--${path}`, path },
          cause,
        });
      }
    },
  };
}

/** Makes the request of `create` and `run`. */
export function createRequest(
  image: string,
  command: readonly string[],
  flags: ContainerFlags,
  stdinOnce: boolean,
): CreateContainerRequest {
  parsePullPolicy(flags.pull); // what is wrong is said before anything is done
  const config = { ...buildContainerConfig(image, command, flags, clientHost()), stdinOnce };
  // The key lets the request be sent again when its answer is lost: it makes one container all the same.
  return CreateContainerRequest.fromPartial({ config, name: flags.name ?? '', idempotencyKey: randomUUID() });
}

/** Makes the container, of an image that is fetched if need be, writes the id file, says the warnings. */
export async function createContainer(
  engine: Engine,
  request: CreateContainerRequest,
  flags: ContainerFlags,
): Promise<CreateContainerResponse> {
  using file = openIdFile(flags.cidfile || undefined);
  const created = await withImage(engine, request.config?.image ?? '', flags, () =>
    retryWhileUnavailable(() => engine.containers.createContainer(request), { onlyLost: true }),
  );
  file.write(created.containerId);
  for (const warning of created.warnings) warn(warning);
  return created;
}

/** Opened before the container is made, so that one whose id cannot be written is not made; gone again if it is not. */
function openIdFile(path: string | undefined): Disposable & { write(id: string): void } {
  if (path === undefined) return { write() {}, [Symbol.dispose]() {} };
  let fd: number;
  try {
    fd = openSync(path, 'wx');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw invalidField('--cidfile', 'a file that does not exist yet', path);
  }
  let written = false;
  return {
    write(id) {
      writeSync(fd, id);
      written = true;
    },
    [Symbol.dispose]() {
      closeSync(fd);
      if (!written) rmSync(path, { force: true });
    },
  };
}
