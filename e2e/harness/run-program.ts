import { spawn } from 'node:child_process';

/** What became of a program that was run to its end. */
export interface Finished {
  /** Exit code; 128 + number for a signal is what shells make of it, here it is -1 with `signal` set. */
  readonly code: number;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run it. */
export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Killed with SIGKILL after so long; 60 s when absent. */
  readonly timeoutMs?: number;
}

/** Runs a program to its end and gives all it said. */
export async function runProgram(
  command: string,
  args: readonly string[],
  { input, env, cwd, timeoutMs = 60_000 }: RunOptions = {},
): Promise<Finished> {
  const child = spawn(command, args, {
    stdio: 'pipe',
    env: env ?? process.env,
    ...(cwd === undefined ? {} : { cwd }),
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => undefined); // a program may leave without reading its input
  child.stdin.end(input);
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  child.once('error', reject);
  child.once('close', (code, signal) => {
    resolve({
      code: code ?? -1,
      signal: signal ?? undefined,
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    });
  });
  return promise;
}

/** Runs a program that must succeed; what it wrote on standard output. */
export async function mustRun(command: string, args: readonly string[], options?: RunOptions): Promise<string> {
  const finished = await runProgram(command, args, options);
  if (finished.code !== 0) {
    throw new Error(
      `${[command, ...args].join(' ')} ended with ${finished.signal ?? finished.code}\n${finished.stderr}\n${finished.stdout}`,
    );
  }
  return finished.stdout;
}
