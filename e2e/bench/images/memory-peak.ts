import { globSync, readFileSync } from 'node:fs';
import { pssBytes } from '../memory.ts';

const intervalMs = 100;

/** The most memory that processes and their children use while some work is done, MiB of PSS, looked at ten times a second. */
export async function peakMib(pids: readonly number[], work: () => Promise<unknown>): Promise<number> {
  let peak = 0;
  const look = () => {
    const sum = family(pids).reduce((bytes, pid) => bytes + pssOf(pid), 0);
    peak = Math.max(peak, sum / (1 << 20));
  };
  look();
  const timer = setInterval(look, intervalMs);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return peak;
}

function family(pids: readonly number[]): number[] {
  return pids.flatMap((pid) => {
    try {
      const children = globSync(`/proc/${pid}/task/*/children`).flatMap((path) =>
        readFileSync(path, 'utf8').split(' ').filter(Boolean).map(Number),
      );
      return [pid, ...family(children)];
    } catch {
      return []; // gone meanwhile
    }
  });
}

function pssOf(pid: number): number {
  try {
    return pssBytes(pid) || 0;
  } catch {
    return 0; // gone meanwhile
  }
}
