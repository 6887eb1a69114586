// Its own entry of the package (`@flotilla/linux/fork`): what forks loads it, the others need not.
export { type ClonedChild, type CloneRequest, cloneInto, isSingleThreaded } from './fork/clone-into.ts';
export { countReplaced, type ForkCounts, forkCounts } from './fork/counts.ts';
export { selfTestFork } from './fork/self-test.ts';
export { fork, makeForkable, restartLoop } from './fork/verified-fork.ts';
export { wakeDescriptors } from './fork/wake-descriptors.ts';
export { settleHeap } from './heap.ts';
