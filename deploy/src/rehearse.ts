import { spawnOwn } from './own-children.ts';

export interface Rehearsal {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFd: number;
  readonly loadMs: number;
}

/** Runs a program that loads all it needs and leaves, because FLOTILLA_REHEARSE=1 says so; why it cannot, or undefined. */
export async function rehearse({ command, args, env, logFd, loadMs }: Rehearsal): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const { NOTIFY_SOCKET: _, ...others } = env;
  const child = spawnOwn(command, args, {
    cwd: '/',
    env: { ...others, FLOTILLA_REHEARSE: '1' },
    stdio: ['ignore', logFd, logFd],
  });
  const timer = setTimeout(() => {
    resolve(`it did not load within ${loadMs / 1000} s`);
    child.kill('SIGKILL');
  }, loadMs);
  child.once('error', (error) => resolve(`it cannot be started: ${error.message}`));
  child.once('exit', (code, signal) => {
    resolve(code === 0 ? undefined : `it cannot run: ${signal ?? `exit code ${code}`}, see its log`);
  });
  return await promise.finally(() => clearTimeout(timer));
}
