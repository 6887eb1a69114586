import { flushCompileCache } from 'node:module';

/** When a service has started and has answered its first calls. */
const afterMs = 3_000;

/**
 * Node.js writes its compile cache when a process ends in an orderly way. A service that is killed for ever would strip types
 * and compile its code at each start, at more than twice the time: so it is written once it runs.
 */
export function saveCompileCache(): void {
  setTimeout(flushCompileCache, afterMs).unref();
}
