import { exitNow, NotifySocket, recvDatagram } from '@flotilla/linux';

const longestMessageBytes = 64 << 10;

/** Tells the service manager that this launcher is ready to take over from another. */
export function tellLoaded(notifyAddress: string | undefined): void {
  if (notifyAddress === undefined) return;
  using socket = NotifySocket.open(notifyAddress);
  // X_ is for names of one's own.
  socket.send({ X_FLOTILLA_LOADED: '1', STATUS: 'loaded; waits for its turn' });
}

/**
 * Waits for its turn: until the manager, once the launcher before has left, has sent what that one had stored with it, in
 * messages of JSON {names, isLast} with a descriptor for each name. Leaves when there is no manager any more.
 */
export function awaitTurn(standbyFd: number): ReadonlyMap<string, number> {
  const stored = new Map<string, number>();
  for (;;) {
    const message = recvDatagram(standbyFd, longestMessageBytes);
    if (message === undefined || message.data.length === 0) return exitNow(0);
    if (message.isTruncated) throw new RangeError('what an earlier launcher had stored came incomplete');
    const { names, isLast } = JSON.parse(message.data.toString()) as { names: string[]; isLast: boolean };
    for (const [i, name] of names.entries()) stored.set(name, message.fds[i]!);
    if (isLast) return stored;
  }
}
