import { CLONE_FS, CLONE_NEWUSER, closeFd, setDumpable, setns, setsid, umask, unshare } from '@flotilla/linux';
import type { ProcessPlan } from '../plan/process-plan.ts';
import { step } from '../setup-error.ts';
import { becomeNamespaceRoot } from './credentials.ts';
import { type CgroupEntry, joinCgroups } from './enter-namespaces.ts';
import { enterWorkingDirectory, finish } from './finish.ts';
import { openRoot } from './rootfs.ts';
import { joinKeyring } from './run-init.ts';
import { placeStdio } from './stdio.ts';
import { openTerminal, takeTerminal } from './terminal.ts';

/** What a further process of a container is made from. Survives v8.serialize. */
export interface ExecWork {
  readonly kind: 'exec';
  readonly process: ProcessPlan;
  readonly cgroups: CgroupEntry;
  /** Container's init, by descriptor. */
  readonly initPidfd: number;
  /** CLONE_NEW… of the namespaces to join; the pid namespace is joined by being born into it. */
  readonly namespaces: number;
}

/** Becomes a further process of a running container. Never returns. */
export function runExec({ process, cgroups, initPidfd, namespaces }: ExecWork, channelFd: number): never {
  umask(0);
  joinCgroups(cgroups);
  setDumpable(false);
  step("join the container's namespaces", () => {
    unshare(CLONE_FS); // a thread that shares its root and working directory with another cannot change them
    setns(initPidfd, namespaces);
  });
  if (namespaces & CLONE_NEWUSER) becomeNamespaceRoot();
  setsid();
  joinKeyring(process);
  const { stdio } = process;
  const rootFd = openRoot('/');
  const terminal = stdio.kind === 'terminal' ? step('open the terminal', () => openTerminal(rootFd, stdio)) : undefined;
  closeFd(rootFd);
  enterWorkingDirectory(process.cwd);
  placeStdio(process, terminal);
  if (terminal) takeTerminal(terminal, process.uid);
  return finish(process, channelFd, process.warnings, terminal?.masterFd);
}
