import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  closeFd,
  exitNow,
  getpid,
  getppid,
  poll,
  recv,
  SIGKILL,
  SIGTERM,
  setChildSubreaper,
  setNonBlocking,
  setParentDeathSignal,
  setProcessName,
  writeFd,
} from '@flotilla/linux';
import { fork, restartLoop } from '@flotilla/linux/fork';
import { TemplateProcess } from './template-process.ts';

/** Those who wait for the launcher have the processor first. */
const headStartMs = 500;

/** A process that rehearses, and leaves behind a template that has; as the launcher sees it. */
export class WarmingTemplate {
  readonly #socketFd: number;

  constructor({ socketFd }: TemplateProcess) {
    this.#socketFd = socketFd;
    setNonBlocking(socketFd, true);
  }

  /** Readable once it is known what became of it. */
  get socketFd(): number {
    return this.#socketFd;
  }

  /** The template, a child of the launcher; `undefined` when there will be none. */
  finish(): TemplateProcess | undefined {
    setNonBlocking(this.#socketFd, false);
    const pid = new Int32Array(1);
    const length = recv(this.#socketFd, new Uint8Array(pid.buffer));
    if (length === pid.byteLength) return new TemplateProcess(pid[0]!, this.#socketFd);
    closeFd(this.#socketFd);
    return undefined;
  }
}

/**
 * The life of that process, a fresh child of the launcher: does what every shim will do, and then forks the template, which
 * alone goes on here. Not this process itself, because what it did has started threads, which forks of it would miss.
 */
export async function warmUpTemplate(commandFd: number, launcherPid: number, work: () => Promise<void>): Promise<void> {
  setProcessName('flotilla-warmup');
  // Not SIGKILL: what it is in the middle of it can take down.
  setParentDeathSignal(SIGTERM);
  if (getppid() !== launcherPid) exitNow(0);
  setChildSubreaper(true);
  takeOwnPid();
  restartLoop();
  await sleep(headStartMs);
  await work();
  const warmPid = getpid();
  if (fork() !== 0) exitNow(0);
  setParentDeathSignal(0);
  while (getppid() === warmPid) poll([], 1); // until it has ended: its orphans are the launcher's
  enterTemplate(launcherPid);
  takeOwnPid();
  writeFd(commandFd, new Uint8Array(Int32Array.of(getpid()).buffer));
}

/** A template does not outlive its launcher. */
export function enterTemplate(launcherPid: number): void {
  setProcessName('flotilla-templ');
  setParentDeathSignal(SIGKILL);
  if (getppid() !== launcherPid) exitNow(0); // The launcher ended before it could be noticed.
}

/** Node.js remembers the number of the process that this one is a fork of. */
function takeOwnPid(): void {
  Object.defineProperty(process, 'pid', { value: getpid(), configurable: true });
}
