import { posix, resolve } from 'node:path';
import { invalidField } from '@flotilla/errors';
import type { DeepPartial, Mount } from '@flotilla/proto/flotilla/v1/container';

/** What reading `--volume` needs to know of the client's surroundings. */
export interface VolumeHost {
  readonly cwd: string;
  /** SELinux is on: then `:z` and `:Z` would mean something that the engine does not do. */
  readonly selinux: boolean;
}

export type MountFlag = DeepPartial<Mount> & { readonly target: string };

const propagations = ['rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'];
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Reads `--volume`: `/target`, `name:/target[:options]`, `/host:/target[:options]`, `./relative:/target`. */
export function parseVolume(text: string, host: VolumeHost): MountFlag {
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) throw badVolume(text);
  if (parts.length === 1) return { type: 'MOUNT_TYPE_VOLUME', source: '', target: parseTarget('--volume', text, text) };
  const [source = '', target = '', options] = parts;
  const mount = {
    ...sourceOf(text, source, host),
    target: parseTarget('--volume', target, text),
  };
  return options === undefined ? mount : { ...mount, ...parseOptions(text, options, mount.type, host) };
}

/** Reads `--tmpfs`: `/target[:options]`, where options are those of mount(8) for tmpfs. */
export function parseTmpfs(text: string): MountFlag {
  const colon = text.indexOf(':');
  const target = parseTarget('--tmpfs', colon === -1 ? text : text.slice(0, colon), text);
  const options =
    colon === -1
      ? []
      : text
          .slice(colon + 1)
          .split(',')
          .filter((option) => option !== '');
  const readOnly = options.includes('ro');
  const tmpfsOptions = options.filter((option) => option !== 'ro' && option !== 'rw');
  return { type: 'MOUNT_TYPE_TMPFS', target, readOnly, tmpfsOptions };
}

/** An absolute path in the container, without `..` and doubled slashes. `/` itself cannot be mounted on. */
export function parseTarget(field: string, target: string, text: string): string {
  if (!target.startsWith('/')) throw invalidField(field, 'given an absolute path in the container', text);
  const path = posix.normalize(target);
  const clean = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  if (clean === '/') throw invalidField(field, "given a path in the container other than '/'", text);
  return clean;
}

function sourceOf(text: string, source: string, { cwd }: VolumeHost) {
  if (source.startsWith('/')) return { type: 'MOUNT_TYPE_BIND' as const, source, createSource: true };
  if (source.startsWith('.')) {
    return { type: 'MOUNT_TYPE_BIND' as const, source: resolve(cwd, source), createSource: true };
  }
  if (!volumeName.test(source)) {
    throw invalidField('--volume', 'given a volume name ([a-zA-Z0-9][a-zA-Z0-9_.-]*) or an absolute path', text);
  }
  return { type: 'MOUNT_TYPE_VOLUME' as const, source };
}

function parseOptions(text: string, options: string, type: string, { selinux }: VolumeHost): DeepPartial<Mount> {
  const mount: { readOnly?: boolean; propagation?: string; noCopy?: boolean } = {};
  const list = options.split(',');
  // As Docker: of each kind one at most.
  for (const kind of [
    ['ro', 'rw'],
    ['z', 'Z'],
    propagations,
    ['nocopy'],
    ['consistent', 'cached', 'delegated', 'default'],
  ]) {
    if (list.filter((option) => kind.includes(option)).length > 1) {
      throw invalidField('--volume', `given at most one of ${kind.join(', ')}`, text);
    }
  }
  for (const option of list) {
    if (option === 'ro' || option === 'rw') mount.readOnly = option === 'ro';
    else if (type === 'MOUNT_TYPE_BIND' && propagations.includes(option)) mount.propagation = option;
    else if (type === 'MOUNT_TYPE_VOLUME' && option === 'nocopy') mount.noCopy = true;
    else if (['z', 'Z'].includes(option) && !selinux) continue;
    else if (['consistent', 'cached', 'delegated', 'default'].includes(option)) continue;
    else throw invalidField('--volume', `given known options (ro, rw, nocopy, ${propagations.join(', ')})`, text);
  }
  return mount;
}

function badVolume(text: string): Error {
  return invalidField('--volume', '/target, name:/target[:options] or /host:/target[:options]', text);
}
