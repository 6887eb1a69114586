import { readFileSync, statSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { type ServiceName, serviceNames } from './services.ts';

/**
 * How a new process takes the place of an old one. `lock`: it loads, then waits for a lock that the old one holds until it
 * has ended. `share`: both may serve for a while. `rehearse`: it is tried out without work first, then started when
 * the old one has ended. `restart`: it is started when the old one has ended. `standby`: it does all that it can before it
 * serves, and then waits until it is given its turn (Standby).
 */
export type Handover = 'lock' | 'share' | 'rehearse' | 'restart' | 'standby';

/** How a release starts one of its services. */
export interface ServiceProgram {
  readonly name: ServiceName;
  /** Path of what Node.js runs, relative to the release. */
  readonly main: string;
  /** Flags of Node.js itself. */
  readonly nodeFlags: readonly string[];
  readonly handover: Handover;
  /** What keepers that know more can do instead of `handover`. */
  readonly betterHandover?: Handover;
}

/** A release on this host: a checkout with its packages. */
export interface Release {
  /** Its root folder. */
  readonly dir: string;
  readonly version: string;
  /** The Node.js that it pins. */
  readonly node: string;
  readonly services: readonly ServiceProgram[];
  /** The keeper's program, absent when that cannot go on with the processes of another. */
  readonly keeperMain: string | undefined;
}

/** Of releases that do not say: they start at once and know nothing of a lock. */
const oldest: readonly ServiceProgram[] = serviceNames.map((name) => ({
  name,
  main: `services/${name === 'launcher' ? 'shim/src/launcher.ts' : `${name}/src/main.ts`}`,
  nodeFlags: name === 'launcher' ? ['--single-threaded', '--v8-pool-size=0'] : [],
  handover: 'restart',
}));

/** Form of the state that one keeper hands to the next. */
export const keeperStateForm = 1;

/** Reads what a release says of itself. INVALID_FIELD when there is none in that folder. */
export function loadRelease(path: string): Release {
  if (!isAbsolute(path)) throw invalidField('release_dir', 'an absolute path', path);
  const dir = normalize(path).replace(/(.)\/$/, '$1');
  const manifest = readJson(join(dir, 'package.json')) as { name?: unknown; version?: unknown } | undefined;
  if (manifest?.name !== 'flotilla' || typeof manifest.version !== 'string') {
    throw invalidField('release_dir', 'the root folder of a release of flotilla', path);
  }
  const described = readJson(join(dir, 'deploy/release.json')) as Described | undefined;
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const node = join(dir, 'node_modules', `node-linux-${arch}`, 'bin/node');
  if (statSync(node, { throwIfNoEntry: false }) === undefined) {
    throw new FlotillaError('failed_precondition', `${dir} is not installed: ${node} is missing`, {
      reason: 'RELEASE_NOT_INSTALLED',
      metadata: { releaseDir: dir },
    });
  }
  const { keeper } = described ?? {};
  return {
    dir,
    version: manifest.version,
    node,
    services: described?.services ?? oldest,
    keeperMain: keeper?.state === keeperStateForm ? keeper.main : undefined,
  };
}

interface Described {
  readonly services: readonly ServiceProgram[];
  readonly keeper?: { readonly main: string; readonly state: number };
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The release whose code a process runs, by its command line; undefined when it is none of its programs. */
export function releaseDirOf(pid: number, main: string): string | undefined {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const word = words.find((one) => one.endsWith(`/${main}`));
    return word?.slice(0, -main.length - 1);
  } catch {
    return undefined;
  }
}
