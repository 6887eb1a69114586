import { flushCompileCache } from 'node:module';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { queryObjects, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { settleHeap } from '@flotilla/linux/fork';
import type { Logger } from '@flotilla/log';

const timeoutMs = 2_000;

/**
 * Makes this process fit to be forked from: nothing of libuv's is open, what was compiled is in the cache, the garbage is
 * gone. What is open after two seconds every child will have too: that is a bug, and said.
 */
export async function compactTemplate(log: Logger): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (process.getActiveResourcesInfo().length > 0 && performance.now() < deadline) await sleep(5);
  const open = process.getActiveResourcesInfo();
  if (open.length > 0) log.error({ open }, 'handles are open in the template of all shims');
  flushCompileCache();
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  collectGarbage();
  collectGarbage();
  queryObjects(Nothing); // Walks the heap, for which V8 sweeps what it would else sweep in each child.
  settleHeap();
}

class Nothing {}
