import { constants, fchownSync, fstatSync } from 'node:fs';
import { dup3, duplicateFd, isErrno } from '@flotilla/linux';
import type { ProcessPlan } from '../plan/process-plan.ts';
import type { Terminal } from './terminal.ts';

/** Puts the streams at 0, 1 and 2, where they stay over execve(2), and gives pipes to the user, who may reopen them. */
export function placeStdio({ stdio, uid }: ProcessPlan, terminal: Terminal | undefined): void {
  if (terminal) {
    for (const target of [0, 1, 2]) dup3(terminal.peerFd, target, { closeOnExec: false });
    return;
  }
  if (stdio.kind !== 'descriptors') throw new TypeError('a terminal was not opened');
  // Copies first: a source may have the number of another's target.
  const copies = [stdio.stdin, stdio.stdout, stdio.stderr].map((fd) => duplicateFd(fd));
  for (const [target, source] of copies.entries()) dup3(source, target, { closeOnExec: false });
  for (const target of copies.keys()) giveToUser(target, uid);
}

function giveToUser(fd: number, uid: number): void {
  const { mode, uid: owner } = fstatSync(fd);
  const type = mode & constants.S_IFMT;
  if (owner === uid || (type !== constants.S_IFIFO && type !== constants.S_IFSOCK)) return;
  try {
    fchownSync(fd, uid, -1 >>> 0);
  } catch (error) {
    // Not the engine's pipe, or a user namespace: whoever gave it says who may use it.
    if (!isErrno(error, 'EPERM', 'EROFS', 'EINVAL')) throw error;
  }
}
