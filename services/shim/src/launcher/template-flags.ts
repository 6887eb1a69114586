/**
 * Flags of V8 for the template and so for every shim. Each page that a shim writes to is one that it no longer shares, and
 * it writes where one would not think it: optimising compilers work in memory that is never used again, so only what is
 * really hot is worth them; collections mark every page; functions that were not called for a while lose their
 * bytecode, and those that are called note it.
 */
export const templateFlags: readonly string[] = [
  '--invocation-count-for-maglev=10000',
  '--invocation-count-for-maglev-with-delay=10000',
  '--invocation-count-for-turbofan=100000',
  '--invocation-count-for-early-optimization=1000',
  '--no-sparkplug',
  '--invocation-count-for-feedback-allocation=300',
  '--no-flush-bytecode',
  '--no-memory-reducer',
  '--no-minor-gc-task',
  '--initial-old-space-size=64',
  // queryObjects, by which the template makes V8 finish its sweeping, is one.
  '--disable-warning=ExperimentalWarning',
];
