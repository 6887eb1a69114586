import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';

const defaultRoot = '/var/lib/flotilla';
const defaultRun = '/run/flotilla';

/** unix(7): sun_path holds 108 bytes; two are kept for the terminating zero and for our own temporary names. */
const longestSocketPath = 106;

/** The two folders of an instance, and its name. */
export interface Paths {
  /** FLOTILLA_ROOT: all persistent state. */
  readonly root: string;
  /** FLOTILLA_RUN: sockets, pid files, what a reboot may take. */
  readonly run: string;
  /** Marks what is this instance's in the kernel: bridges, nft tables, cgroups. `flotilla` for the default folders. */
  readonly instance: string;
}

/** A process that listens on a socket of its own name. */
export type ServiceSocket = 'api' | 'image' | 'network' | 'supervisor' | 'launcher';

/** Reads FLOTILLA_ROOT and FLOTILLA_RUN. INVALID_FIELD when one is not an absolute path or is too long for a socket. */
export function loadPaths(env: NodeJS.ProcessEnv = process.env): Paths {
  const root = folder('FLOTILLA_ROOT', env.FLOTILLA_ROOT ?? defaultRoot);
  const run = folder('FLOTILLA_RUN', env.FLOTILLA_RUN ?? defaultRun);
  const paths: Paths = { root, run, instance: instanceName(root) };
  const longest = join(shimDir(paths, 'f'.repeat(64)), 'shim.sock');
  if (Buffer.byteLength(longest) > longestSocketPath) {
    throw invalidField('FLOTILLA_RUN', `at most ${longestSocketPath - longest.length + run.length} bytes long`, run);
  }
  return paths;
}

/** Where a service listens. */
export function socketPath({ run }: Paths, service: ServiceSocket): string {
  return join(run, `${service}.sock`);
}

/** Folder of a container's shim: the bundle, the FIFOs, `shim.sock`. */
export function shimDir({ run }: Paths, containerId: string): string {
  return join(run, 'shims', containerId);
}

/** Where reapers write how orphans of containers ended: ExitFiles of shared/linux. */
export function exitsDir({ run }: Paths): string {
  return join(run, 'exits');
}

/** Where NATS listens: FLOTILLA_NATS_URL, else what `up` wrote. UNAVAILABLE / NATS_UNREACHABLE when nobody has said. */
export function natsUrl({ run }: Paths, env: NodeJS.ProcessEnv = process.env): string {
  const given = env.FLOTILLA_NATS_URL;
  if (given !== undefined && given !== '') return given;
  const file = join(run, 'nats.url');
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new FlotillaError('unavailable', `NATS is not running: ${file} cannot be read`, {
      reason: 'NATS_UNREACHABLE',
      metadata: { file },
      cause,
    });
  }
}

function instanceName(root: string): string {
  return root === defaultRoot ? 'flotilla' : `fl-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;
}

function folder(name: string, value: string): string {
  if (!isAbsolute(value) || value.includes('\0')) throw invalidField(name, 'an absolute path', value);
  const path = normalize(value);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
