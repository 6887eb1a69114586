import { existsSync, readFileSync, renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProcess, isSameProcess } from '@flotilla/linux';
import { type InstanceFiles, removeFile, replaceFile } from './instance-files.ts';

/**
 * A small program for sh(1) that writes a process's record and then becomes the process: as it is written before the
 * process runs, whoever starts processes may die at any moment without losing sight of one. It also sets LISTEN_PID,
 * which systemd's protocol wants to be the process's own id. $1 is the pid file, $2 the start file.
 */
export const recordAndExecute: string = [
  'pids=$1 starts=$2; shift 2',
  'read -r stat <"/proc/$$/stat"; read -r boot </proc/sys/kernel/random/boot_id',
  // The name in parentheses may hold anything; behind it the start time is the 20th word: proc_pid_stat(5), field 22.
  'ticks() { shift 19; printf "%s" "$1"; }; start="$$ $(ticks $' + '{stat##*) }) $boot"',
  'printf "%s\\n" "$start" >"$starts"; echo $$ >"$pids"',
  'LISTEN_PID=$$; export LISTEN_PID; exec "$@"',
].join('\n');

/** Writes the record of this process itself. */
export function recordOwnProcess(files: InstanceFiles, name: string): void {
  const startTime = findProcess(process.pid)?.startTime ?? 0;
  replaceFile(files.startFile(name), `${process.pid} ${startTime} ${bootId()}\n`);
  replaceFile(files.pidFile(name), `${process.pid}\n`);
}

/** Takes the record of a process away. */
export function forgetProcess(files: InstanceFiles, name: string): void {
  removeFile(files.pidFile(name));
  removeFile(files.startFile(name));
}

/** Gives the record of one name to another: the process has taken that one's place. */
export function promoteRecord(files: InstanceFiles, from: string, to: string): void {
  // The start file counts, so it comes last.
  for (const file of ['pidFile', 'startFile'] as const) {
    if (existsSync(files[file](from))) renameSync(files[file](from), files[file](to));
  }
}

/** A process that was seen, told from a later one with the same id by its time of start. */
export class SeenProcess {
  readonly pid: number;
  readonly #startTime: number;

  constructor(pid: number, startTime: number) {
    this.pid = pid;
    this.#startTime = startTime;
  }

  /** Whether it still runs: a zombie does not. */
  isAlive(): boolean {
    return isSameProcess(this.pid, this.#startTime);
  }

  /** Sends a signal, unless it is gone. */
  signal(name: NodeJS.Signals): void {
    try {
      if (this.isAlive()) process.kill(this.pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** The recorded process, or undefined when there is no record, or that process is gone. */
export function findRecordedProcess(files: InstanceFiles, name: string): SeenProcess | undefined {
  let text: string;
  try {
    text = readFileSync(files.startFile(name), 'utf8');
  } catch {
    return undefined;
  }
  const [pid, startTime, boot] = text.trim().split(' ');
  if (boot !== bootId()) return undefined;
  const seen = new SeenProcess(Number(pid), Number(startTime));
  return seen.isAlive() ? seen : undefined;
}

/** A child of this process, before its record is there. */
export function seeChild(pid: number): SeenProcess {
  return new SeenProcess(pid, findProcess(pid)?.startTime ?? -1);
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Sends SIGTERM, waits, sends SIGKILL, waits; whether the first was enough. Without grace it is killed at once. */
export async function endProcess(running: SeenProcess, graceMs: number): Promise<boolean> {
  if (graceMs > 0) running.signal('SIGTERM');
  const deadline = Date.now() + graceMs;
  while (running.isAlive()) {
    if (Date.now() >= deadline) {
      running.signal('SIGKILL');
      while (running.isAlive()) await sleep(10);
      return false;
    }
    await sleep(10);
  }
  return true;
}
