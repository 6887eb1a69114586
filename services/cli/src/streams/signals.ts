import process from 'node:process';

/** Those that a person or a supervisor of processes sends; SIGWINCH goes its own way, the others cannot be caught. */
const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const;

/** Passes the signals that this process gets on to the container, until it is disposed of. */
export function proxySignals(wanted: boolean, send: (signal: string) => Promise<unknown>): Disposable {
  const listeners = wanted
    ? passedOn.map((signal) => {
        // A container that has ended meanwhile needs no signal.
        const listener = () => void send(signal).catch(() => {});
        process.on(signal, listener);
        return [signal, listener] as const;
      })
    : [];
  return {
    [Symbol.dispose]() {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
