import { invalidField } from '@flotilla/errors';
import { containerEvent } from './container.ts';
import type { Engine } from './engine.ts';
import { checkRunning } from './kill-container.ts';
import type { Observer } from './observation.ts';

export interface ProcessTable {
  readonly titles: string[];
  /** As many values in each as titles. */
  readonly rows: string[][];
}

const mostArguments = 64;
const longestArgument = 4096;

/**
 * The processes of a container. In no queue: it answers while the container is paused, or somebody works on it.
 * FAILED_PRECONDITION / CONTAINER_NOT_RUNNING; INVALID_FIELD for arguments that ps refuses or that leave out the PIDs.
 */
export async function listProcesses(
  { repository, now }: Engine,
  observer: Observer,
  { container, psArgs, signal }: { container: string; psArgs: readonly string[]; signal: AbortSignal },
): Promise<ProcessTable> {
  const record = repository.find(container);
  checkArguments(psArgs);
  checkRunning(record);
  const printed = await observer.ps(psArgs.length === 0 ? ['-ef'] : psArgs, signal);
  // Asked behind ps: what it printed and ended meanwhile is left out, and no number is another's by now.
  const table = selectProcesses(printed, new Set(observer.pids(record.containerId)), psArgs);
  repository.save({ events: [containerEvent(record, 'top', now())] });
  return table;
}

function checkArguments(psArgs: readonly string[]): void {
  if (psArgs.length > mostArguments) throw invalidField('ps_args', `at most ${mostArguments} arguments`);
  for (const argument of psArgs) {
    if (argument === '' || argument.includes('\0') || argument.length > longestArgument) {
      throw invalidField('ps_args', `arguments of 1 to ${longestArgument} characters`, argument.slice(0, 64));
    }
  }
  // A column that only calls itself PID would choose processes of others.
  for (const [all, column = ''] of psArgs.join(' ').matchAll(/([\w%]+)=\s*PID\b/g)) {
    if (column.toLowerCase() !== 'pid') throw invalidField('ps_args', 'no other column under the head PID', all);
  }
}

/** The lines of a table of ps(1) whose process is one of these. What is behind the last head is one value. */
export function selectProcesses(
  printed: string,
  pids: ReadonlySet<number>,
  psArgs: readonly string[] = [],
): ProcessTable {
  const [head = '', ...lines] = printed.split('\n');
  const titles = words(head);
  const at = titles.indexOf('PID');
  if (at === -1) throw invalidField('ps_args', 'arguments that give a column PID', psArgs.join(' '));
  const rows: string[][] = [];
  let chosen = false;
  for (const line of lines) {
    const values = words(line);
    if (values.length === 0) continue;
    const pid = values[at] ?? '';
    // Lines of threads have a dash there and follow the line of their process.
    if (pid !== '-') chosen = pids.has(Number(pid));
    if (chosen) rows.push(fit(values, titles.length));
  }
  return { titles, rows };
}

function fit(values: readonly string[], count: number): string[] {
  const last = values.slice(count - 1).join(' ');
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? last : (values[i] ?? '')));
}

function words(line: string): string[] {
  return line.split(/\s+/).filter(Boolean);
}
