import process from 'node:process';
import { FlotillaError } from '@flotilla/errors';

/** Refuses a terminal for input that is none, as Docker does: keys would be echoed twice and Ctrl-C lost. */
export function requireTerminal(tty: boolean, stdin: boolean, advice = 'leave -t out'): void {
  if (tty && stdin && process.stdin.isTTY !== true) {
    throw new FlotillaError('failed_precondition', `the input device is not a TTY: ${advice}`, {
      reason: 'NOT_A_TERMINAL',
    });
  }
}

/**
 * Hands every key to the container until it is disposed of, also when the client ends in an unexpected way. Not Node's own raw
 * mode: that goes on turning a line feed into a carriage return and a line feed, which programs that draw do not expect.
 */
export async function rawTerminal(wanted: boolean): Promise<Disposable> {
  if (!wanted || process.stdin.isTTY !== true) return { [Symbol.dispose]() {} };
  const { setRawMode, setTerminalMode } = await import('@flotilla/linux/terminal');
  const before = setRawMode(process.stdin.fd);
  const restore = () => setTerminalMode(process.stdin.fd, before);
  process.once('exit', restore);
  return {
    [Symbol.dispose]() {
      process.off('exit', restore);
      restore();
    },
  };
}

/** The window's size, or undefined when standard output is no terminal. */
export function windowSize(): { readonly rows: number; readonly columns: number } | undefined {
  if (process.stdout.isTTY !== true) return undefined;
  const [columns, rows] = process.stdout.getWindowSize();
  return { rows, columns };
}
