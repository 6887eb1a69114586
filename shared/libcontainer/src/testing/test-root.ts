import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Process, Spec } from '@flotilla/oci';
import { removeGroup } from '../cgroup/group-files.ts';
import { readHierarchies } from '../cgroup/hierarchies.ts';
import {
  defaultCapabilities,
  defaultDeviceRules,
  defaultMaskedPaths,
  defaultMountsFor,
  defaultReadonlyPaths,
  defaultSeccompProfile,
  toCapabilitySets,
} from '../defaults/index.ts';
import type { Starter } from '../index.ts';
import type { Result, Scenario } from './scenario.ts';

const applets = [
  'sh',
  'ls',
  'cat',
  'id',
  'true',
  'mount',
  'sleep',
  'unshare',
  'hostname',
  'echo',
  'grep',
  'readlink',
  'stat',
  'touch',
  'mkdir',
  'head',
  'dd',
  'wc',
  'test',
  'tty',
  'stty',
  'umount',
  'mknod',
  'env',
  'pwd',
  'kill',
  'chmod',
  'awk',
  'tail',
];

/** Says why tests that change the host do not run; false when they do. */
export const skipRoot: string | false =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'changes the host: set FLOTILLA_ROOT_TESTS=1 as root';

/** What a test changes of the usual container. */
export interface Change {
  readonly args?: readonly string[];
  readonly process?: Partial<Process>;
  readonly spec?: { readonly [field in keyof Spec]?: Spec[field] | undefined };
  readonly linux?: NonNullable<Spec['linux']>;
  readonly scenario?: Partial<Scenario>;
}

/** A folder with a small root filesystem (busybox) and whatever the tests' containers need; removed at the end. */
export class TestRoot implements Disposable {
  readonly dir = mkdtempSync('/tmp/flc-');
  readonly lower = join(this.dir, 'lower');
  /** cgroups of this test file. */
  readonly parent = `/flc-test-${process.pid}`;
  /** Of the writable layers. */
  owner = 0;
  #count = 0;
  /** One for each way, for all tests: Node.js takes its time to start. */
  readonly #runners: Partial<Record<Starter, ChildProcess>> = {};

  constructor() {
    for (const name of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'home'])
      mkdirSync(join(this.lower, name), { recursive: true });
    copyFileSync('/bin/busybox', join(this.lower, 'bin/busybox'));
    for (const applet of applets) symlinkSync('busybox', join(this.lower, 'bin', applet));
    writeFileSync(join(this.lower, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
    writeFileSync(join(this.lower, 'bin/not-executable'), '#!/bin/sh\n', { mode: 0o644 });
    writeFileSync(join(this.lower, 'bin/no-interpreter'), '#!/nowhere\n', { mode: 0o755 });
  }

  /** The usual container with changes, run to its end. */
  async run(starter: Starter, change: Change = {}): Promise<Result> {
    const name = `c${this.#count++}`;
    const bundleDir = join(this.dir, name);
    for (const folder of ['upper', 'work']) {
      mkdirSync(join(bundleDir, folder), { recursive: true });
      chownSync(join(bundleDir, folder), this.owner, this.owner);
    }
    const scenario: Scenario = {
      starter,
      spec: this.spec(name, change),
      containerId: `${process.pid}-${name}`,
      bundleDir,
      rootfsMounts: [
        {
          type: 'overlay',
          source: 'overlay',
          options: [`lowerdir=${this.lower}`, `upperdir=${bundleDir}/upper`, `workdir=${bundleDir}/work`],
        },
      ],
      ...change.scenario,
    };
    return this.#start(scenario);
  }

  spec(name: string, { args = ['/bin/true'], process = {}, spec = {}, linux = {} }: Change): Spec {
    const made = {
      ociVersion: '1.2.0',
      process: {
        args,
        env: ['PATH=/bin'],
        cwd: '/',
        user: { uid: 0, gid: 0 },
        capabilities: toCapabilitySets(defaultCapabilities),
        ...process,
      },
      hostname: 'boat',
      mounts: defaultMountsFor(),
      ...spec,
      linux: {
        namespaces: (['mount', 'uts', 'ipc', 'pid', 'network', 'cgroup'] as const).map((type) => ({ type })),
        cgroupsPath: `${this.parent}/${name}`,
        maskedPaths: defaultMaskedPaths,
        readonlyPaths: defaultReadonlyPaths,
        seccomp: defaultSeccompProfile(defaultCapabilities),
        ...linux,
        resources: { devices: defaultDeviceRules, ...linux.resources },
      },
    };
    return JSON.parse(JSON.stringify(made)) as Spec; // as it comes from a file: what is undefined is not there
  }

  async #start(scenario: Scenario): Promise<Result> {
    writeFileSync(join(scenario.bundleDir, 'scenario.json'), JSON.stringify(scenario));
    this.#runners[scenario.starter] ??= startRunner(scenario.starter);
    const runner = this.#runners[scenario.starter]!;
    if (runner.exitCode !== null) throw new Error(`the tests' shim has ended with ${runner.exitCode}`);
    runner.stdin?.write(`${scenario.bundleDir}\n`);
    await Promise.race([once(runner.stdout!, 'data'), once(runner, 'exit')]);
    return JSON.parse(readFileSync(join(scenario.bundleDir, 'result.json'), 'utf8')) as Result;
  }

  /** cgroups of this file's containers that are still there. */
  leftCgroups(): string[] {
    return readHierarchies().flatMap(({ mountPoint }) => {
      const folder = mountPoint + this.parent;
      if (!existsSync(folder)) return [];
      return readdirSync(folder, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => `${folder}/${name}`);
    });
  }

  /** Mounts below this folder that the host sees. */
  leftMounts(): string[] {
    return readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.dir));
  }

  [Symbol.dispose](): void {
    for (const runner of Object.values(this.#runners)) runner.kill('SIGKILL');
    for (const { mountPoint } of readHierarchies()) removeGroup(mountPoint + this.parent);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function startRunner(starter: Starter): ChildProcess {
  const flags = starter === 'fork' ? ['--single-threaded', '--v8-pool-size=0'] : [];
  const program = join(import.meta.dirname, 'run-container.ts');
  return spawn(process.execPath, [...flags, program], { stdio: ['pipe', 'pipe', 'inherit'] });
}
