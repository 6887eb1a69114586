/** What a process has forked. */
export interface ForkCounts {
  readonly forks: number;
  /** Children that lacked a page of memory, or died, and were replaced before they had done anything. */
  readonly replaced: number;
}

let forks = 0;
let replaced = 0;

/** Forks of this process so far. */
export function forkCounts(): ForkCounts {
  return { forks, replaced };
}

/** A child was made. */
export function countFork(): void {
  forks++;
}

/** It was of no use. */
export function countReplaced(): void {
  replaced++;
}
