import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { FlotillaError } from '@flotilla/errors';

/** A process of the engine as `pids/<name>.start` records it: told from a later one with the same id by its time of start. */
export interface RecordedProcess {
  readonly pid: number;
  isAlive(): boolean;
}

/** The recorded process, or undefined when there is none or it has ended. */
export function findRecordedProcess(run: string, name: string): RecordedProcess | undefined {
  const [pid, startTime, boot] = (readText(join(run, 'pids', `${name}.start`)) ?? '').trim().split(' ');
  if (pid === undefined || startTime === undefined || boot !== readText('/proc/sys/kernel/random/boot_id')?.trim()) {
    return undefined;
  }
  const recorded = { pid: Number(pid), isAlive: () => startTimeOf(Number(pid)) === startTime };
  return recorded.isAlive() ? recorded : undefined;
}

/** Whether a process runs for this instance: its environment says so. NOT_PERMITTED when it may not be read. */
export function belongsTo(run: string, pid: number): boolean {
  try {
    const env = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return env.includes(`FLOTILLA_RUN=${run}`);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new FlotillaError('permission_denied', `process ${pid} may not be looked at: run this as root`, {
      reason: 'NOT_PERMITTED',
      metadata: { pid: String(pid) },
      cause,
    });
  }
}

/** Asks it to end. */
export function terminate({ pid }: RecordedProcess): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Field 22 of proc_pid_stat(5), or undefined for a process that is gone or a zombie. */
function startTimeOf(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
