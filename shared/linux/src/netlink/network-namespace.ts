import { closeSync, openSync } from 'node:fs';
import { CLONE_NEWNET } from '../constants.ts';
import { setns, unshare } from '../process.ts';

const own = '/proc/thread-self/ns/net';

/**
 * Does synchronous work in a network namespace: setns(2) on this thread, and back. A thread that cannot come back would
 * do all its later work in the wrong place, so the process ends then.
 */
export function insideNetworkNamespace<T>(netnsFd: number, work: () => T): T {
  return away(() => setns(netnsFd, CLONE_NEWNET), work);
}

/** Makes a network namespace and does synchronous work in it, such as to keep it: it is gone once nobody holds it. */
export function insideNewNetworkNamespace<T>(work: () => T): T {
  return away(() => unshare(CLONE_NEWNET), work);
}

/** Makes a network namespace and gives a descriptor of it, close-on-exec. */
export function createNetworkNamespace(): number {
  return insideNewNetworkNamespace(() => openSync(own, 'r'));
}

/** The file of the calling thread's network namespace, for bind mounts. */
export const ownNetworkNamespace = own;

function away<T>(go: () => void, work: () => T): T {
  const homeFd = openSync(own, 'r');
  try {
    go();
    try {
      return work();
    } finally {
      comeBack(homeFd);
    }
  } finally {
    closeSync(homeFd);
  }
}

function comeBack(homeFd: number): void {
  try {
    setns(homeFd, CLONE_NEWNET);
  } catch (error) {
    console.error('cannot return to the network namespace of this process', error);
    process.abort();
  }
}
