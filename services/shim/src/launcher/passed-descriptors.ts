import process from 'node:process';
import { closeFd, setCloseOnExec, setNonBlocking } from '@flotilla/linux';
import { parseStoredName } from './stored-name.ts';

/** The descriptor on which systemd's protocol hands over the first: sd_listen_fds(3). */
const firstPassed = 3;

/** What the launcher was started with. */
export interface PassedDescriptors {
  readonly listenFd: number;
  /** What an earlier launcher left with the service manager, by name (stored-name.ts). */
  readonly stored: ReadonlyMap<string, number>;
  /** It is to wait for its turn: awaitTurn. */
  readonly standbyFd?: number;
  /** Where the service manager hears; `undefined` without one. */
  readonly notifyAddress: string | undefined;
}

/** Name of the descriptor by which a turn is given. */
const standbyName = 'standby';

/** Takes what this process was started with, and keeps it, and the way to the manager, from what it starts in turn. */
export function takePassedDescriptors(env: NodeJS.ProcessEnv): PassedDescriptors {
  const count = Number(env.LISTEN_FDS ?? '0');
  if (!Number.isInteger(count) || count < 1 || env.LISTEN_PID !== String(process.pid)) {
    throw new Error('the launcher must be started with its listening socket as descriptor 3 (LISTEN_FDS, LISTEN_PID)');
  }
  const names = env.LISTEN_FDNAMES?.split(':') ?? [];
  const notifyAddress = env.NOTIFY_SOCKET;
  for (const name of ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'NOTIFY_SOCKET']) delete env[name];
  const stored = new Map<string, number>();
  let listenFd: number | undefined;
  let standbyFd: number | undefined;
  for (let i = 0; i < count; i++) {
    const fd = firstPassed + i;
    const name = names[i] ?? '';
    setCloseOnExec(fd, true);
    if (parseStoredName(name) !== undefined && !stored.has(name)) stored.set(name, fd);
    else if (name === standbyName && standbyFd === undefined) standbyFd = fd;
    else if (listenFd === undefined) listenFd = fd;
    else closeFd(fd); // Of a name that says nothing here, or a second copy.
  }
  if (listenFd === undefined) throw new Error('the launcher was started without its listening socket (LISTEN_FDNAMES)');
  setNonBlocking(listenFd, true);
  return { listenFd, stored, notifyAddress, ...(standbyFd === undefined ? {} : { standbyFd }) };
}
