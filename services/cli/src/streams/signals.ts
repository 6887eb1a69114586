import process from 'node:process';

/** Those that a person or a supervisor of processes sends; SIGWINCH goes its own way, the others cannot be caught. */
const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const;

export interface SignalProxy extends Disposable {
  /** The container runs: those that came before go to it now, later ones at once. */
  release(): void;
}

/** Passes the signals that this process gets on to the container, until it is disposed of. */
export function proxySignals(wanted: boolean, send: (signal: string) => Promise<unknown>): SignalProxy {
  let held: string[] | undefined = [];
  // A container that has ended meanwhile needs no signal.
  const pass = (signal: string) => void send(signal).catch(() => {});
  const listeners = (wanted ? passedOn : []).map((signal) => {
    const listener = () => (held === undefined ? pass(signal) : void held.push(signal));
    process.on(signal, listener);
    return [signal, listener] as const;
  });
  return {
    release() {
      const early = held ?? [];
      held = undefined;
      for (const signal of early) pass(signal);
    },
    [Symbol.dispose]() {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
