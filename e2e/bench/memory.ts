import { readFileSync } from 'node:fs';

/** Proportional set size of a process, bytes: its private memory and its share of what it shares. */
export function pssBytes(pid: number): number {
  const found = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').match(/^Pss:\s+(\d+) kB$/m);
  return Number(found?.[1]) * 1024;
}

/** Mean of several processes, mebibytes. */
export function meanPssMib(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + pssBytes(pid), 0) / pids.length / (1 << 20);
}
