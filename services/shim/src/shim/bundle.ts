import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FlotillaError, invalidField } from '@flotilla/errors';
import type { IdMapping, Spec, User } from '@flotilla/oci';
import { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { Owner } from './streams/stdio.ts';

const knownDrivers = ['', 'json-file', 'local', 'journald', 'syslog', 'none'];

/** What a shim runs, from the two files that the supervisor wrote into its folder. */
export interface Bundle {
  readonly shimDir: string;
  readonly spec: Spec;
  readonly options: TaskOptions;
}

/** INVALID_FIELD or BUNDLE_INVALID when a file is missing, is no JSON, or belongs to another container or run. */
export function readBundle(shimDir: string, containerId: string, run: bigint): Bundle {
  const spec = readJson(join(shimDir, 'config.json')) as Spec;
  const options = TaskOptions.fromJSON(readJson(join(shimDir, 'task.json')));
  if (options.containerId !== containerId) throw invalidField('container_id', containerId, options.containerId);
  if (options.run !== run) throw invalidField('run', String(run), String(options.run));
  if (options.stateDir === '') throw invalidField('state_dir', 'a folder');
  if (spec.process === undefined) throw invalidField('process', 'an object', 'nothing');
  if (options.runtime !== '' && options.runtime !== 'flotilla') {
    throw invalidField('runtime', "'flotilla'", options.runtime);
  }
  if (!knownDrivers.includes(options.logDriver)) {
    throw invalidField('log_driver', `one of ${knownDrivers.join(', ')}`, options.logDriver);
  }
  return { shimDir, spec, options };
}

/** Who owns the streams of a container's process, on the host: user_namespaces(7), mappings. */
export function ownerOnHost({ linux }: Spec, { uid, gid }: User): Owner {
  return { uid: onHost(uid, linux?.uidMappings), gid: onHost(gid, linux?.gidMappings) };
}

function onHost(id: number, mappings: readonly IdMapping[] = []): number {
  for (const { containerID, hostID, size } of mappings) {
    if (id >= containerID && id < containerID + size) return hostID + id - containerID;
  }
  return id;
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new FlotillaError('failed_precondition', `the bundle is not complete: ${path}: ${problem}`, {
      reason: 'BUNDLE_INVALID',
      metadata: { path, problem },
      cause,
    });
  }
}
