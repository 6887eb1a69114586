import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from './engine.ts';
import { waitFor } from './wait.ts';

/** What is typed at a terminal. */
export interface Typing {
  readonly rows: number;
  readonly columns: number;
  /** What has to appear before anything is typed: the shell's prompt, say. */
  readonly after: RegExp;
  /** Lines, or single control characters, one after the other with a pause that lets the shell answer. */
  readonly typed: readonly string[];
}

const pauseMs = 400;

/** Runs the client in a terminal of its own, which script(1) provides, and types; what appeared, and the exit code. */
export async function inTerminal(engine: Engine, args: readonly string[], { rows, columns, after, typed }: Typing) {
  const command = `stty rows ${rows} cols ${columns}; exec ${engine.commandLine(...args)}`;
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...engine.env, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  await waitFor(`${after} on the terminal`, () => after.test(output) || child.exitCode !== null);
  for (const text of typed) {
    child.stdin.write(text.length === 1 ? text : `${text}\r`);
    await sleep(pauseMs);
  }
  const [code] = await closed;
  return { output: output.replaceAll('\r\n', '\n'), code };
}
