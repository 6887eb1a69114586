import { constants, fchownSync } from 'node:fs';
import {
  closeFd,
  fileSystemType,
  openTerminalPeer,
  openTreeOf,
  setControllingTerminal,
  setTerminalSize,
  unlockTerminal,
} from '@flotilla/linux';
import type { ContainerStdio } from '../plan/process-plan.ts';
import { attach, refused } from './attach.ts';
import { isDevice } from './devices.ts';
import { ensureFile, openInRoot } from './root-paths.ts';

const DEVPTS_SUPER_MAGIC = 0x1cd1;
const ptmx = { type: 'c', major: 5, minor: 2 } as const;

/** Both ends of a new terminal. */
export interface Terminal {
  readonly masterFd: number;
  readonly peerFd: number;
}

/** Makes a terminal in the container's devpts, proven to be one, and hands its own end over by descriptor (CVE-2025-52565). */
export function openTerminal(rootFd: number, { size }: Extract<ContainerStdio, { kind: 'terminal' }>): Terminal {
  const flags = constants.O_RDWR | constants.O_NOCTTY;
  const masterFd = openInRoot(rootFd, '/dev/pts/ptmx', { flags, noLinks: true });
  if (fileSystemType(masterFd) !== DEVPTS_SUPER_MAGIC || !isDevice(masterFd, ptmx)) {
    throw refused('/dev/pts/ptmx', 'it is not a terminal multiplexer');
  }
  unlockTerminal(masterFd);
  const peerFd = openTerminalPeer(masterFd);
  if (fileSystemType(peerFd) !== DEVPTS_SUPER_MAGIC) throw refused('/dev/pts', 'it is not a devpts');
  if (size) setTerminalSize(masterFd, size);
  return { masterFd, peerFd };
}

/** Lays the terminal over /dev/console: config-linux.md, Default Devices. */
export function bindConsole(rootFd: number, { peerFd }: Terminal): void {
  const mountFd = openTreeOf(peerFd);
  try {
    attach(mountFd, ensureFile(rootFd, '/dev/console'), '/dev/console');
  } finally {
    closeFd(mountFd);
  }
}

/** The terminal belongs to the user, and controls the session that this process leads. */
export function takeTerminal({ peerFd }: Terminal, uid: number): void {
  fchownSync(peerFd, uid, -1 >>> 0);
  setControllingTerminal(peerFd);
}
