import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { ContainerCgroup, preloadRuntime } from '@flotilla/libcontainer';
import {
  defaultCapabilities,
  defaultDeviceRules,
  defaultMaskedPaths,
  defaultMounts,
  defaultReadonlyPaths,
  toCapabilitySets,
} from '@flotilla/libcontainer/defaults';
import { closeFd, exitNow } from '@flotilla/linux';
import { tryFileLock } from '@flotilla/linux/file-lock';
import type { Logger } from '@flotilla/log';
import type { Spec } from '@flotilla/oci';
import { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { AttachRequest, ShimServiceService, StartExecRequest } from '@flotilla/proto/flotilla/shim/v1/shim';
import {
  ReportExecExitResponse,
  ReportTaskExitResponse,
  SupervisorServiceService,
} from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { type Client, connect, implement, serve } from '@flotilla/rpc';
import { readBundle } from '../shim/bundle.ts';
import { makeContainer, undo } from '../shim/make-container.ts';
import { serveTask } from '../shim/serve-task.ts';

const rounds = 3;
const lockTimeoutMs = 10_000;
const lockPollMs = 10;
const containerId = 'rehearsal';

/**
 * Runs containers in the template, from the bundle to the end: a shell in a read-only view of the host, to which a client
 * attaches. What is loaded, compiled and cached by it, every shim has already, and shares. A host where that does not work
 * has slower and larger shims, no more.
 */
export async function rehearse(log: Logger): Promise<void> {
  preloadRuntime();
  const folder = join(process.env.FLOTILLA_RUN ?? '/run/flotilla', 'rehearsal');
  let lockFd: number | undefined;
  const onTerm = (): void => {
    if (lockFd !== undefined) tryRemoveRemains(folder, log);
    exitNow(0);
  };
  process.on('SIGTERM', onTerm);
  // Another of this instance may be at it: a launcher that is about to end, or one that is tried out.
  lockFd = await waitForLock(`${folder}.lock`);
  try {
    removeRemains(folder);
    mkdirSync(folder, { mode: 0o700 });
    await using _supervisor = await serveSupervisor(join(folder, 'supervisor.sock'), log);
    for (let round = 0; round < rounds; round++) {
      await runOnce(join(folder, String(round)), folder);
      forgetShim();
    }
  } catch (err) {
    log.warn({ err }, 'the rehearsal did not work: shims start more slowly');
  }
  tryRemoveRemains(folder, log);
  forgetShim();
  process.off('SIGTERM', onTerm);
  if (lockFd !== undefined) closeFd(lockFd);
}

/** `undefined` when it took too long: a container that was left half made in the middle of its start may hold the lock. */
async function waitForLock(path: string): Promise<number | undefined> {
  for (const deadline = performance.now() + lockTimeoutMs; performance.now() < deadline; ) {
    const fd = tryFileLock(path);
    if (fd !== undefined) return fd;
    await sleep(lockPollMs);
  }
  return undefined;
}

function tryRemoveRemains(folder: string, log: Logger): void {
  try {
    removeRemains(folder);
  } catch (err) {
    log.warn({ err }, 'something of the rehearsal is left');
  }
}

/** Of this rehearsal, or of one in whose middle a launcher of this instance was killed. */
function removeRemains(folder: string): void {
  const cgroup = ContainerCgroup.open(cgroupPath(folder));
  cgroup.killAll();
  cgroup.remove();
  rmSync(folder, { recursive: true, force: true });
}

/** One for each instance, and known to its next launcher. */
function cgroupPath(folder: string): string {
  return `/flotilla-rehearsal-${createHash('sha256').update(folder).digest('hex').slice(0, 8)}`;
}

/** The template is no shim, nor is one round the other: what a shim listens to is not for them. */
function forgetShim(): void {
  process.removeAllListeners('uncaughtException');
  process.removeAllListeners('SIGCHLD');
}

async function runOnce(shimDir: string, folder: string): Promise<void> {
  writeBundle(shimDir, folder);
  const made = makeContainer(readBundle(shimDir, containerId, 1n), 'fork');
  const { promise: left, resolve } = Promise.withResolvers<void>();
  try {
    await serveTask(made, 'fork', resolve);
    using shim = connect(ShimServiceService, { address: `unix://${shimDir}/shim.sock`, name: 'shim' });
    await useTask(shim);
    await left;
  } catch (error) {
    undo(made);
    throw error;
  }
}

/** What is asked of a shim, in the usual order. */
async function useTask(shim: Client<typeof ShimServiceService>): Promise<void> {
  const { promise: execEnded, resolve } = Promise.withResolvers<void>();
  const attached = attach(shim, execEnded);
  await shim.startTask({ expectedAttachments: 1 });
  await shim.getTask({});
  const processJson = JSON.stringify(shell('exit 0'));
  await shim.startExec(StartExecRequest.fromPartial({ execId: 'exec', processJson, detach: true }));
  await shim.waitTask({ execId: 'exec' });
  resolve();
  await attached;
  await shim.waitTask({ execId: '' });
  await shim.deleteTask({});
}

/** Init ends once it has its line. */
async function attach(shim: Client<typeof ShimServiceService>, mayEnd: Promise<void>): Promise<void> {
  async function* requests(): AsyncGenerator<AttachRequest> {
    const start = { stdin: true, stdout: true, stderr: true, expected: true };
    yield AttachRequest.fromPartial({ message: { $case: 'start', value: start } });
    await mayEnd;
    yield AttachRequest.fromPartial({ message: { $case: 'stdin', value: Buffer.from('line\n') } });
    yield AttachRequest.fromPartial({ message: { $case: 'closeStdin', value: {} } });
  }
  for await (const { message } of shim.attach(requests())) if (message?.$case === 'ended') return;
}

async function serveSupervisor(socketPath: string, log: Logger): Promise<AsyncDisposable> {
  const implementation = implement(SupervisorServiceService, {
    reportTaskExit: async () => ReportTaskExitResponse.create(),
    reportExecExit: async () => ReportExecExitResponse.create(),
  });
  return serve({
    socketPath,
    implementations: [implementation],
    service: 'supervisor',
    log,
    usePassedSocket: false,
    drainMs: 100,
  });
}

function writeBundle(shimDir: string, folder: string): void {
  const stateDir = join(shimDir, 'state');
  mkdirSync(stateDir, { recursive: true });
  const options = TaskOptions.fromPartial({
    containerId,
    run: 1n,
    stateDir,
    rootfsMounts: [{ type: 'bind', source: '/', options: ['bind', 'ro'] }],
    openStdin: true,
    stdinOnce: true,
    logDriver: 'json-file',
    logPath: join(stateDir, 'log'),
    supervisorAddress: `unix://${folder}/supervisor.sock`,
    logLevel: 'warn',
  });
  writeFileSync(join(shimDir, 'config.json'), JSON.stringify(spec(folder)));
  writeFileSync(join(shimDir, 'task.json'), JSON.stringify(TaskOptions.toJSON(options)));
}

function spec(folder: string): Spec {
  return {
    ociVersion: '1.2.0',
    hostname: containerId,
    process: shell('echo ready; read line; echo "$line"'),
    mounts: defaultMounts,
    linux: {
      cgroupsPath: cgroupPath(folder),
      namespaces: (['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'] as const).map((type) => ({ type })),
      resources: { devices: defaultDeviceRules },
      maskedPaths: defaultMaskedPaths,
      readonlyPaths: defaultReadonlyPaths,
    },
  };
}

function shell(script: string): NonNullable<Spec['process']> {
  return {
    user: { uid: 0, gid: 0 },
    args: ['/bin/sh', '-c', script],
    env: ['PATH=/usr/bin:/bin'],
    cwd: '/',
    capabilities: toCapabilitySets(defaultCapabilities),
  };
}
