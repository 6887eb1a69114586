import { closeSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@flotilla/log';

const pollMs = 5;

/**
 * Tells the service manager that started this process (systemd, or the keeper) how it is: sd_notify(3). Nothing happens
 * without one, and nothing when it does not listen any more.
 */
export async function tellManager(fields: Readonly<Record<string, string>>): Promise<void> {
  const address = process.env.NOTIFY_SOCKET;
  if (address === undefined || address === '') return;
  // Loaded here: a shim or a client has nobody to tell.
  const { NotifySocket } = await import('@flotilla/linux/notify');
  try {
    using socket = NotifySocket.open(address);
    socket.send(fields);
  } catch (error) {
    if (error instanceof RangeError) throw error;
  }
}

export interface TurnOptions {
  /** File whose lock the one process has that works. */
  readonly lockPath: string;
  /** Throws when this release cannot work here. The one that works is not disturbed then. */
  readonly check: () => void;
  readonly log: Logger;
}

/**
 * For a service that must not work twice: says that its code is loaded, and waits until the process that it replaces has
 * ended. The turn lasts until it is disposed of, or the process ends in whatever way.
 */
export async function takeTurn({ lockPath, check, log }: TurnOptions): Promise<Disposable> {
  try {
    check();
  } catch (err) {
    log.fatal({ err }, 'cannot work here');
    await tellManager({ STATUS: (err as Error).message });
    throw err;
  }
  const { tryFileLock } = await import('@flotilla/linux/file-lock');
  // X_ is for names of one's own. It is said before the lock is taken, so that the wait for it is all that is left.
  await tellManager({ X_FLOTILLA_LOADED: '1', STATUS: 'loaded; waits for its turn' });
  for (;;) {
    const fd = tryFileLock(lockPath);
    if (fd !== undefined) {
      await tellManager({ STATUS: 'starts' });
      return { [Symbol.dispose]: () => closeSync(fd) };
    }
    await sleep(pollMs);
  }
}
