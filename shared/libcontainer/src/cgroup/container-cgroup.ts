import { existsSync, openSync } from 'node:fs';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { isErrno, kill, SIGKILL } from '@flotilla/linux';
import type { LinuxResources } from '@flotilla/oci';
import type { CgroupEntry } from '../child/enter-namespaces.ts';
import { cleanedUp, step } from '../setup-error.ts';
import { ResourceWriter, type WrittenFile } from './apply-resources.ts';
import {
  makeGroup,
  pollUntil,
  readIfThere,
  readKey,
  readProcesses,
  removeGroup,
  writeFileOnce,
} from './group-files.ts';
import { type Hierarchy, readHierarchies } from './hierarchies.ts';
import { openOomNotifier } from './oom-notifier.ts';
import { type CgroupStats, readStats } from './stats.ts';

const freezeTimeoutMs = 5_000;
const removeTimeoutMs = 5_000;
const killRounds = 50;

/** A container's group in every hierarchy of the host. It touches this path, and makes the parents it lacks, nothing else. */
export class ContainerCgroup {
  /** As `linux.cgroupsPath`: the same below each hierarchy. */
  readonly path: string;
  readonly #hierarchies: readonly Hierarchy[];
  #warnings: readonly string[] = [];

  private constructor(path: string, hierarchies: readonly Hierarchy[]) {
    if (!/^(\/[A-Za-z0-9_.:@-]+)+$/.test(path) || /\/\.\.?(\/|$)/.test(path)) {
      throw invalidField('linux.cgroupsPath', 'an absolute path below each hierarchy, as /flotilla/4f2a', path);
    }
    this.path = path;
    this.#hierarchies = hierarchies;
  }

  /** Makes the group in every hierarchy and sets its limits; if that fails nothing is left. */
  static create(path: string, resources: LinuxResources = {}): ContainerCgroup {
    const group = new ContainerCgroup(path, readHierarchies());
    if (group.#hierarchies.length === 0) {
      throw new FlotillaError('failed_precondition', 'no cgroup hierarchy is mounted on this host', {
        reason: 'CGROUPS_MISSING',
      });
    }
    try {
      step('make the cgroup', () => group.#make());
      group.#warnings = group.update(resources);
      return group;
    } catch (error) {
      throw cleanedUp(error, () => group.remove());
    }
  }

  /** A group that is there already. */
  static open(path: string): ContainerCgroup {
    return new ContainerCgroup(path, readHierarchies());
  }

  /** From `create`: limits that this host cannot set. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  #make(): void {
    for (const hierarchy of this.#hierarchies) {
      try {
        makeIn(hierarchy, this.path); // nearly always the parents are there
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error;
        const parts = this.path.slice(1).split('/');
        for (let depth = 1; depth <= parts.length; depth++) makeIn(hierarchy, `/${parts.slice(0, depth).join('/')}`);
      }
    }
  }

  /** Whether it is there in every hierarchy. */
  exists(): boolean {
    return this.#hierarchies.every((hierarchy) => existsSync(this.#folder(hierarchy)));
  }

  /** Sets the limits that are given; the others stay. Returns warnings. A limit that would silently not hold is an error. */
  update(resources: LinuxResources): readonly string[] {
    return new ResourceWriter(this.#hierarchies, this.path).apply(resources);
  }

  /** As `update`, of a group with processes: all of it or nothing. What was written before a refusal is taken back. */
  change(resources: LinuxResources): readonly string[] {
    const undo: WrittenFile[] = [];
    try {
      return new ResourceWriter(this.#hierarchies, this.path, undo).apply(resources);
    } catch (error) {
      throw cleanedUp(error, () => {
        // An empty write would change nothing; these files take an empty line for an empty list.
        for (const { path, before } of undo.reverse()) writeFileOnce(path, before || '\n');
      });
    }
  }

  /** How a child gets in; `bornIntoV2` says that clone3(2) puts it into the v2 group. */
  entry(bornIntoV2: boolean): CgroupEntry {
    const v2 = this.#v2Folder();
    return {
      tasks: this.#hierarchies.filter(({ version }) => version === 1).map((one) => `${this.#folder(one)}/tasks`),
      procs: bornIntoV2 || v2 === undefined ? undefined : `${v2}/cgroup.procs`,
    };
  }

  /** Descriptor of the v2 group's folder for clone3(2); the caller closes it. `undefined` on a pure v1 host. */
  openV2(): number | undefined {
    const folder = this.#v2Folder();
    return folder === undefined ? undefined : step('open the cgroup', () => openSync(folder, 'r'));
  }

  /** Stops every process where it is; returns when all have stopped. */
  freeze(): void {
    this.#setFrozen(true);
  }

  /** Whether `freeze` was the last word. */
  isFrozen(): boolean {
    const v2 = this.#v2Folder();
    if (v2 !== undefined) return readIfThere(`${v2}/cgroup.freeze`)?.trim() === '1';
    return (readIfThere(`${this.#find('freezer')}/freezer.state`)?.trim() ?? 'THAWED') !== 'THAWED';
  }

  /** Undoes `freeze`. */
  thaw(): void {
    this.#setFrozen(false);
  }

  #setFrozen(frozen: boolean): void {
    const doing = frozen ? 'freeze the container' : 'thaw the container';
    const v2 = this.#v2Folder();
    const v1 = this.#find('freezer');
    const done = step(doing, () => {
      if (v2 !== undefined) {
        writeFileOnce(`${v2}/cgroup.freeze`, frozen ? '1' : '0');
        return pollUntil(
          () => readKey(readIfThere(`${v2}/cgroup.events`), 'frozen') === Number(frozen),
          freezeTimeoutMs,
        );
      }
      const file = `${v1}/freezer.state`;
      const wanted = frozen ? 'FROZEN' : 'THAWED';
      return pollUntil(() => {
        writeFileOnce(file, wanted); // again and again: a group in FREEZING may need it
        return readIfThere(file)?.trim() === wanted;
      }, freezeTimeoutMs);
    });
    if (!done)
      throw new FlotillaError('deadline_exceeded', `could not ${doing} in ${freezeTimeoutMs} ms`, {
        reason: 'FREEZE_TIMEOUT',
      });
  }

  /** Sends a signal to every process, SIGKILL in one step (cgroup.kill, Linux 5.14) so that none escapes by forking. */
  killAll(signal = SIGKILL): void {
    const v2 = this.#v2Folder();
    if (signal === SIGKILL && v2 !== undefined && readIfThere(`${v2}/cgroup.events`) !== undefined) {
      try {
        writeFileOnce(`${v2}/cgroup.kill`, '1');
        return;
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error;
      }
    }
    for (let round = 0; round < (signal === SIGKILL ? killRounds : 1); round++) {
      const pids = this.pids();
      if (pids.length === 0) return;
      for (const pid of pids) killIfThere(pid, signal);
      if (signal === SIGKILL) pollUntil(() => !this.isPopulated(), 10);
    }
  }

  /** Whether a process of the container is alive. */
  isPopulated(): boolean {
    const v2 = this.#v2Folder();
    if (v2 !== undefined) return readKey(readIfThere(`${v2}/cgroup.events`), 'populated') === 1;
    return this.pids().length > 0;
  }

  /** Every process, those in groups that the container made included. */
  pids(): number[] {
    const folder =
      this.#v2Folder() ?? this.#find('pids') ?? this.#find('memory') ?? this.#folder(this.#hierarchies[0]!);
    return readProcesses(folder);
  }

  /** How often the kernel has killed a process of it for want of memory. Ask before `remove`. */
  oomKillCount(): number {
    const memory = this.#hierarchies.find(({ controllers }) => controllers.includes('memory'));
    if (!memory) return 0;
    const file = memory.version === 1 ? 'memory.oom_control' : 'memory.events';
    return readKey(readIfThere(`${this.#folder(memory)}/${file}`), 'oom_kill') ?? 0;
  }

  /** A descriptor that has something to read when that happens; the caller's. `undefined` without the memory controller. */
  openOomNotifier(): number | undefined {
    const memory = this.#hierarchies.find(({ controllers }) => controllers.includes('memory'));
    return memory && openOomNotifier(this.#folder(memory), memory.version);
  }

  /** What it uses now. */
  stats(): CgroupStats {
    return readStats(this.#hierarchies, this.path);
  }

  /** Removes the groups; one that does not become empty in 5 seconds is an error. */
  remove(): void {
    for (const hierarchy of this.#hierarchies) {
      const folder = this.#folder(hierarchy);
      if (step('remove the cgroup', () => pollUntil(() => removeGroup(folder), removeTimeoutMs))) continue;
      throw new FlotillaError('failed_precondition', `cgroup is not empty: ${folder}`, {
        reason: 'CGROUP_BUSY',
        metadata: { path: folder },
      });
    }
  }

  #folder(hierarchy: Hierarchy): string {
    return `${hierarchy.mountPoint}${this.path}`;
  }

  #v2Folder(): string | undefined {
    const v2 = this.#hierarchies.find(({ version }) => version === 2);
    return v2 && this.#folder(v2);
  }

  #find(controller: string): string | undefined {
    const found = this.#hierarchies.find(
      ({ version, controllers }) => version === 1 && controllers.includes(controller),
    );
    return found && this.#folder(found);
  }
}

function makeIn({ mountPoint, controllers, version }: Hierarchy, path: string): void {
  const group = mountPoint + path;
  const isNew = makeGroup(group);
  if (isNew && version === 1 && controllers.includes('cpuset'))
    inheritCpuset(group.slice(0, group.lastIndexOf('/')), group);
}

/** A v1 cpuset is born empty and takes nobody in until it has processors and memory. */
function inheritCpuset(parent: string, group: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (readIfThere(`${group}/${file}`)?.trim() === '')
      writeFileOnce(`${group}/${file}`, readIfThere(`${parent}/${file}`) ?? '');
  }
}

function killIfThere(pid: number, signal: number): void {
  try {
    kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}
