import { guarded } from './finish.ts';
import { type ExecWork, runExec } from './run-exec.ts';
import { type InitWork, runInit } from './run-init.ts';
import { runInUserNamespace } from './user-namespace.ts';

/** What a child of the runtime does. Survives v8.serialize. */
export type Work = InitWork | ExecWork;

/** Does it, whichever it is, and never returns. */
export function runWork(work: Work, channelFd: number): never {
  return guarded(channelFd, () => {
    if (work.kind === 'exec') return runExec(work, channelFd);
    return work.newUserNamespace ? runInUserNamespace(work, channelFd) : runInit(work, channelFd);
  });
}
