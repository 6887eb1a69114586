import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Starter } from '@flotilla/libcontainer';
import {
  defaultCapabilities,
  defaultDeviceRules,
  defaultMaskedPaths,
  defaultMounts,
  defaultReadonlyPaths,
  toCapabilitySets,
} from '@flotilla/libcontainer/defaults';
import { closeFd, ExitFiles, pidfdOpen, recvFds, setNonBlocking, unixSocketPair } from '@flotilla/linux';
import type { Process, Spec } from '@flotilla/oci';
import { LauncherReply, TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import {
  type AttachStart,
  KillTaskRequest,
  ShimServiceService,
  StartExecRequest,
} from '@flotilla/proto/flotilla/shim/v1/shim';
import { connect } from '@flotilla/rpc';
import { findFrame } from '../../launcher/frame.ts';
import { Attachment, type ShimClient } from './attachment.ts';
import { ReportRecorder } from './report-recorder.ts';

const starter = fileURLToPath(new URL('start-shim.ts', import.meta.url));
const applets = 'sh cat echo head id kill ls seq sleep stty true false dd yes ps'.split(' ');

// Of all shims of a test file, or of all processes of a test run: without it each would strip and compile everything anew.
const compileCache = process.env.NODE_COMPILE_CACHE ?? ownCompileCache();

function ownCompileCache(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fl-cache-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What a task is to be, besides the usual. */
export interface TaskPlan {
  readonly args: readonly string[];
  readonly process?: Partial<Process>;
  readonly options?: Partial<TaskOptions>;
  readonly resources?: NonNullable<NonNullable<Spec['linux']>['resources']>;
  readonly linux?: Partial<NonNullable<Spec['linux']>>;
}

/** Each made for the container. */
export const ownNamespaces = (['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'] as const).map((type) => ({ type }));

/** A folder with a root file system of busybox, in which real shims run real containers; takes all of it away again. */
export class ShimRig implements AsyncDisposable {
  readonly forkMode: Starter;
  readonly dir = mkdtempSync('/tmp/fl-');
  readonly #group = `/fl-shim-test-${randomBytes(4).toString('hex')}`;
  readonly #children = new Set<ChildProcess>();
  /** What the launcher would keep, by container and name. */
  readonly #kept = new Map<string, Readonly<Record<string, number>>>();
  readonly #open = new AsyncDisposableStack();
  readonly supervisorAddress = `unix://${this.dir}/supervisor.sock`;

  constructor(forkMode: Starter) {
    this.forkMode = forkMode;
    mkdirSync(join(this.dir, 'root/bin'), { recursive: true });
    for (const name of ['proc', 'dev', 'sys', 'tmp', 'etc']) mkdirSync(join(this.dir, 'root', name));
    copyFileSync('/bin/busybox', join(this.dir, 'root/bin/busybox'));
    for (const applet of applets) symlinkSync('busybox', join(this.dir, 'root/bin', applet));
    writeFileSync(join(this.dir, 'root/bin/data'), 'not a program', { mode: 0o644 });
  }

  /** Makes a container whose init waits. */
  async launch(plan: TaskPlan): Promise<TestTask> {
    const reply = await this.tryLaunch(plan);
    if (reply.reply?.$case !== 'launch') assert.fail(JSON.stringify(reply.reply?.value));
    const task = new TestTask(this.lastShimDir, this.lastContainerId, reply.reply.value, this);
    this.#open.use(task.client);
    return task;
  }

  lastShimDir = '';
  lastContainerId = '';

  /** The reply as it is, which may be an error. */
  async tryLaunch(plan: TaskPlan): Promise<LauncherReply> {
    const { containerId, shimDir } = this.prepare(plan);
    this.lastShimDir = shimDir;
    this.lastContainerId = containerId;
    return this.#start(containerId, shimDir, { adopt: false });
  }

  /** Starts a shim that takes a container over, from one that is dead or from one that lives. */
  async adopt(task: TestTask, { replaces = 0 } = {}): Promise<TestTask> {
    const { containerId, shimDir } = task;
    const { reply } = await this.#start(containerId, shimDir, { adopt: true, replaces });
    if (reply?.$case !== 'launch') assert.fail(JSON.stringify(reply?.value));
    const adopted = new TestTask(shimDir, containerId, reply.value, this);
    this.#open.use(adopted.client);
    return adopted;
  }

  /** Closes the kept copy of a container's input. */
  releaseStdin(containerId: string): void {
    const { stdin, ...rest } = this.#kept.get(containerId) ?? {};
    if (stdin !== undefined) closeFd(stdin);
    this.#kept.set(containerId, rest);
  }

  /** As the launcher does: gives a shim its descriptors, and keeps those that it sends. */
  async #start(
    containerId: string,
    shimDir: string,
    old: { adopt: boolean; replaces?: number },
  ): Promise<LauncherReply> {
    const kept = old.adopt ? Object.entries(this.#kept.get(containerId) ?? {}) : [];
    const fds = Object.fromEntries(kept.map(([name], i) => [name, 4 + i]));
    const options = JSON.stringify({ ...old, fds });
    const args = ['--single-threaded', '--v8-pool-size=0', starter, this.forkMode, shimDir, containerId, '1', options];
    const env = { ...process.env, NODE_COMPILE_CACHE: compileCache, FLOTILLA_RUN: this.dir };
    const [ours, theirs] = unixSocketPair();
    const child = spawn(process.execPath, args, {
      env,
      stdio: ['ignore', 'inherit', 'inherit', theirs, ...kept.map(([, fd]) => fd)],
    });
    closeFd(theirs);
    this.#children.add(child);
    const { reply, received } = await readReply(ours);
    if (reply.reply?.$case === 'launch') {
      for (const [name, fd] of kept) if (name !== 'init') closeFd(fd);
      const { init = pidfdOpen(reply.reply.value.initPid) } = Object.fromEntries(kept);
      this.#kept.set(containerId, { ...received, init });
    }
    return reply;
  }

  /** Writes a bundle. */
  prepare(plan: TaskPlan): { readonly containerId: string; readonly shimDir: string } {
    const containerId = randomBytes(32).toString('hex');
    const shimDir = join(this.dir, 's', containerId.slice(0, 12));
    mkdirSync(shimDir, { recursive: true, mode: 0o700 });
    mkdirSync(this.stateDir(containerId), { recursive: true });
    writeFileSync(join(shimDir, 'config.json'), JSON.stringify(this.#spec(containerId, plan)));
    const options = TaskOptions.fromPartial({
      containerId,
      run: 1n,
      stateDir: this.stateDir(containerId),
      logDriver: 'json-file',
      logPath: this.logPath(containerId),
      supervisorAddress: this.supervisorAddress,
      logLevel: 'warn',
      runtime: 'flotilla',
      cgroupParent: this.#group,
      ...plan.options,
    });
    writeFileSync(join(shimDir, 'task.json'), JSON.stringify(TaskOptions.toJSON(options)));
    return { containerId, shimDir };
  }

  stateDir(containerId: string): string {
    return join(this.dir, 'c', containerId);
  }

  logPath(containerId: string): string {
    return join(this.stateDir(containerId), `${containerId}-json.log`);
  }

  /** What reapers have written down. */
  get exits(): ExitFiles {
    return new ExitFiles(join(this.dir, 'exits'));
  }

  /** A real gRPC server that takes the reports of shims. */
  async startSupervisor(): Promise<ReportRecorder> {
    const recorder = new ReportRecorder();
    await recorder.listen(join(this.dir, 'supervisor.sock'));
    this.#open.use(recorder);
    return recorder;
  }

  /** Names of the cgroups of ours that exist. */
  cgroups(): string[] {
    return hierarchies()
      .flatMap((root) => {
        const group = `${root}${this.#group}`;
        return existsSync(group) ? readdirSync(group, { withFileTypes: true }).filter((one) => one.isDirectory()) : [];
      })
      .map(({ parentPath, name }) => join(parentPath, name));
  }

  /** Waits for the shims to end by themselves. */
  async ended(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of existsSync(join(this.dir, 's')) ? readdirSync(join(this.dir, 's')) : []) {
      if (!existsSync(`${this.dir}/s/${name}/shim.sock`)) continue;
      const shim = connect(ShimServiceService, { address: `unix://${this.dir}/s/${name}/shim.sock`, name: 'shim' });
      await shim.deleteTask({}, { deadlineMs: 3_000 }).catch(() => {});
      shim[Symbol.dispose]();
    }
    await Promise.race([this.ended(), sleep(5_000, undefined, { ref: false })]);
    for (const child of this.#children) child.kill('SIGKILL');
    for (const kept of this.#kept.values()) for (const fd of Object.values(kept)) closeFd(fd);
    await this.#open.disposeAsync();
    for (const group of [...this.cgroups(), ...hierarchies().map((root) => `${root}${this.#group}`)]) {
      if (existsSync(group)) rmdirSync(group);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  #spec(containerId: string, { args, process, resources, linux }: TaskPlan): Spec {
    return {
      ociVersion: '1.2.0',
      root: { path: join(this.dir, 'root') },
      hostname: containerId.slice(0, 12),
      process: {
        user: { uid: 0, gid: 0 },
        args,
        env: ['PATH=/bin'],
        cwd: '/',
        capabilities: toCapabilitySets(defaultCapabilities),
        ...process,
      },
      mounts: defaultMounts,
      linux: {
        cgroupsPath: `${this.#group}/${containerId}`,
        namespaces: ownNamespaces,
        resources: { devices: defaultDeviceRules, ...resources },
        maskedPaths: defaultMaskedPaths,
        readonlyPaths: defaultReadonlyPaths,
        ...linux,
      },
    };
  }
}

/** A container that a shim runs. */
export class TestTask {
  readonly shimDir: string;
  readonly containerId: string;
  readonly shimPid: number;
  readonly initPid: number;
  readonly client: ShimClient;
  readonly #rig: ShimRig;

  constructor(
    shimDir: string,
    containerId: string,
    { shimPid, initPid }: { shimPid: number; initPid: number },
    rig: ShimRig,
  ) {
    this.shimDir = shimDir;
    this.containerId = containerId;
    this.shimPid = shimPid;
    this.initPid = initPid;
    this.#rig = rig;
    this.client = connect(ShimServiceService, { address: `unix://${shimDir}/shim.sock`, name: 'shim' });
  }

  async start(expectedAttachments = 0): Promise<void> {
    await this.client.startTask({ expectedAttachments });
  }

  async kill(request: Partial<KillTaskRequest>): Promise<void> {
    await this.client.killTask(KillTaskRequest.fromPartial(request));
  }

  /** Of init or of an exec; the exit code. */
  async wait(execId = ''): Promise<number> {
    return (await this.client.waitTask({ execId })).exitCode;
  }

  /** Starts and returns the exit code. */
  async run(): Promise<number> {
    await this.start();
    return this.wait();
  }

  /** The exec's pid. */
  async exec(request: Partial<StartExecRequest>): Promise<number> {
    return (await this.client.startExec(StartExecRequest.fromPartial(request))).pid;
  }

  /** What the log file says, one entry a record. */
  log(): { log: string; stream: string; time: string }[] {
    const lines = readFileSync(this.#rig.logPath(this.containerId), 'utf8').split('\n');
    return lines.slice(0, -1).map((line) => JSON.parse(line)); // the last may be being written
  }

  logText(stream = 'stdout'): string {
    return this.log()
      .filter((record) => record.stream === stream)
      .map(({ log }) => log)
      .join('');
  }

  /** Waits until the file of the log has a text. */
  async logs(text: string): Promise<void> {
    for (let i = 0; i < 3_000 && !this.logText().includes(text); i++) await sleep(10);
    assert.ok(this.logText().includes(text), `${text} in ${this.logText()}`);
  }

  attach(start: Partial<AttachStart> = {}): Attachment {
    return new Attachment(this.client, { stdout: true, stderr: true, ...start });
  }
}

interface Answer {
  readonly reply: LauncherReply;
  /** Descriptors that came with it, by name. */
  readonly received: Readonly<Record<string, number>>;
}

/** The socket may stay open behind the message: a waiting init has a copy of it. */
async function readReply(socketFd: number): Promise<Answer> {
  setNonBlocking(socketFd, true);
  const chunk = Buffer.alloc(64 << 10);
  let bytes = Buffer.alloc(0);
  const fds: number[] = [];
  try {
    for (;;) {
      const part = recvFds(socketFd, chunk);
      if (part === undefined) {
        await sleep(2);
        continue;
      }
      if (part.length === 0) return assert.fail(`the shim ended without an answer: ${bytes}`);
      fds.push(...part.fds);
      bytes = Buffer.concat([bytes, chunk.subarray(0, part.length)]);
      const frame = findFrame(bytes, 1 << 20);
      if (frame === undefined) continue;
      const reply = LauncherReply.decode(frame);
      const names = reply.reply?.$case === 'launch' ? reply.reply.value.keptDescriptors : [];
      return { reply, received: Object.fromEntries(names.map((name, i) => [name, fds[i]!])) };
    }
  } finally {
    closeFd(socketFd);
  }
}

/** Where cgroups are: each v1 controller and v2. */
function hierarchies(): string[] {
  const root = '/sys/fs/cgroup';
  const below = readdirSync(root, { withFileTypes: true }).filter((one) => one.isDirectory());
  return existsSync(`${root}/cgroup.controllers`) ? [root] : below.map(({ name }) => join(root, name));
}
