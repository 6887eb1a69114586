import { FlotillaError } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';
import type { LinuxDeviceCgroup, LinuxResources } from '@flotilla/oci';
import { setupError, step } from '../setup-error.ts';
import { limitDevices } from './device-program.ts';
import { readIfThere, readNumber, writeFileOnce } from './group-files.ts';
import type { Hierarchy } from './hierarchies.ts';
import { type Setting, v1Settings, v2Settings, v2Warnings } from './settings.ts';

/** What a pure v2 host's groups get, for their statistics, too. */
const usualControllers = ['cpu', 'cpuset', 'hugetlb', 'io', 'memory', 'pids'];

/** A file of a group, and what was in it. */
export interface WrittenFile {
  readonly path: string;
  readonly before: string;
}

/** Writes `linux.resources` into a container's groups: each controller where the host has it. */
export class ResourceWriter {
  readonly #v1: readonly Hierarchy[];
  readonly #v2: Hierarchy | undefined;
  readonly #path: string;
  readonly #written: WrittenFile[] | undefined;
  readonly #warnings: string[] = [];

  /** `written`: is told what was in each file before it was written, in order. */
  constructor(hierarchies: readonly Hierarchy[], path: string, written?: WrittenFile[]) {
    this.#written = written;
    this.#v1 = hierarchies.filter(({ version }) => version === 1);
    this.#v2 = hierarchies.find(({ version }) => version === 2);
    this.#path = path;
  }

  /** Returns warnings. */
  apply(resources: LinuxResources): readonly string[] {
    const has = (controller: string): boolean => this.#v1.some(({ controllers }) => controllers.includes(controller));
    const inV1 = v1Settings(resources).filter(({ controller }) => has(controller));
    const inV2 = v2Settings(resources).filter(({ controller }) => !has(controller === 'io' ? 'blkio' : controller));
    if (this.#v1.length === 0) this.#warnings.push(...v2Warnings(resources));
    else this.#reportLost(resources, has);
    this.#enableControllers([...inV2.map(({ controller }) => controller), ...unifiedControllers(resources)]);
    for (const setting of ordered(inV1, (file) => this.#readCurrent(file)))
      this.#set(this.#v1Folder(setting.controller), setting);
    for (const setting of inV2) this.#set(this.#v2Folder(setting), setting);
    this.#setUnified(resources);
    this.#limitDevices(resources.devices ?? []);
    return this.#warnings;
  }

  /** What only v1 offers, on a host whose v1 lacks it. */
  #reportLost({ network = {} }: LinuxResources, has: (controller: string) => boolean): void {
    if (network.classID !== undefined && !has('net_cls')) throw missing('net_cls', 'network.classID');
    if (network.priorities?.length && !has('net_prio')) throw missing('net_prio', 'network.priorities');
  }

  #v1Folder(controller: string): string {
    const found = this.#v1.find(({ controllers }) => controllers.includes(controller));
    return `${found?.mountPoint}${this.#path}`;
  }

  #v2Folder({ controller }: Setting): string | undefined {
    return this.#v2?.controllers.includes(controller) ? `${this.#v2.mountPoint}${this.#path}` : undefined;
  }

  #readCurrent(file: string): number | undefined {
    return readNumber(`${this.#v1Folder('memory')}/${file}`);
  }

  #set(folder: string | undefined, setting: Setting): void {
    const { controller, file, value, field, ifMissing, otherFile, otherValue = value } = setting;
    if (folder !== undefined) {
      try {
        step(`set ${field} to ${value}`, () => this.#write(`${folder}/${file}`, value));
        return;
      } catch (error) {
        if (!wasMissing(error)) throw explain(error, setting);
      }
      try {
        if (otherFile !== undefined) {
          this.#write(`${folder}/${otherFile}`, otherValue);
          return;
        }
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw explain(setupError(`set ${field} to ${otherValue}`, error), setting);
      }
    }
    if (ifMissing === 'error') throw missing(controller, field);
    this.#warnings.push(`${field} has no effect: this host does not offer ${file}`);
  }

  #write(path: string, value: string): void {
    const before = this.#written === undefined ? undefined : readIfThere(path)?.trim();
    writeFileOnce(path, value);
    if (before !== undefined) this.#written?.push({ path, before });
  }

  #setUnified({ unified = {} }: LinuxResources): void {
    for (const [file, value] of Object.entries(unified)) {
      const field = `unified.${file}`;
      if (!/^[a-z0-9_]+(\.[A-Za-z0-9_]+)+$/.test(file) || file.startsWith('cgroup.procs')) throw missing(file, field);
      this.#set(this.#v2 && `${this.#v2.mountPoint}${this.#path}`, {
        controller: file.split('.')[0]!,
        file,
        value,
        field,
        ifMissing: 'error',
      });
    }
  }

  #limitDevices(rules: readonly LinuxDeviceCgroup[]): void {
    if (rules.length === 0) return;
    const v1 = this.#v1.find(({ controllers }) => controllers.includes('devices'));
    const folder = `${(v1 ?? this.#v2)?.mountPoint}${this.#path}`;
    if (v1 === undefined && this.#v2 === undefined) throw missing('devices', 'devices');
    step('limit the devices', () => limitDevices(folder, v1 ? 1 : 2, rules));
  }

  /** A controller works in a v2 group when each of its parents passes it on (cgroup.subtree_control). */
  #enableControllers(needed: readonly string[]): void {
    if (!this.#v2) return;
    const { controllers, mountPoint } = this.#v2;
    const wanted = new Set(this.#v1.length === 0 ? [...usualControllers, ...needed] : needed);
    const enable = controllers.filter((controller) => wanted.has(controller));
    if (enable.length === 0) return;
    const parents = this.#path.split('/').slice(0, -1);
    for (let depth = 1; depth <= parents.length; depth++) {
      const file = `${mountPoint}${parents.slice(0, depth).join('/')}/cgroup.subtree_control`;
      const on = new Set((readIfThere(file) ?? '').trim().split(' '));
      for (const controller of enable.filter((one) => !on.has(one))) this.#enable(file, controller, needed);
    }
  }

  #enable(file: string, controller: string, needed: readonly string[]): void {
    try {
      writeFileOnce(file, `+${controller}`);
    } catch (error) {
      // One that only statistics would use may be missing.
      if (needed.includes(controller)) throw setupError(`enable the ${controller} controller`, error);
    }
  }
}

const unifiedControllers = ({ unified = {} }: LinuxResources): string[] =>
  Object.keys(unified).map((file) => file.split('.')[0]!);

/**
 * The kernel wants memory ≤ memory+swap at all times: when they grow, the sum is set first; when they shrink, last.
 */
function ordered(settings: readonly Setting[], current: (file: string) => number | undefined): Setting[] {
  const memory = settings.find(({ file }) => file === 'memory.limit_in_bytes');
  const swap = settings.find(({ file }) => file === 'memory.memsw.limit_in_bytes');
  if (!memory || !swap) return [...settings];
  const now = current(swap.file);
  const grows = now !== undefined && (Number(memory.value) < 0 || Number(memory.value) > now);
  const rest = settings.filter((one) => one !== memory && one !== swap);
  return grows ? [swap, memory, ...rest] : [memory, swap, ...rest];
}

function wasMissing(error: unknown): boolean {
  return error instanceof FlotillaError && isErrno(error.cause, 'ENOENT', 'EOPNOTSUPP');
}

/** EINVAL, ERANGE, EBUSY: the value, not the host, is at fault. */
function explain(error: unknown, { field, value, file }: Setting): unknown {
  const cause = error instanceof FlotillaError ? error.cause : error;
  if (!isErrno(cause, 'EINVAL', 'ERANGE', 'EBUSY', 'ENODEV', 'EACCES')) return error;
  const busy = isErrno(cause, 'EBUSY') ? ': more is in use already' : '';
  return new FlotillaError('invalid_argument', `the kernel refuses ${field} = ${value}${busy}`, {
    reason: 'RESOURCE_LIMIT_INVALID',
    metadata: { field, value, file },
    cause,
  });
}

function missing(controller: string, field: string): FlotillaError {
  const message = `${field} cannot be set: this host does not offer the cgroup controller ${controller}, so the limit would not hold`;
  return new FlotillaError('failed_precondition', message, {
    reason: 'CGROUP_CONTROLLER_MISSING',
    metadata: { controller, field },
  });
}
