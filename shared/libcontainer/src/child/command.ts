import { accessSync, constants, statSync } from 'node:fs';
import { FlotillaError } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Finds the file to execute, as execvp(3) does with the container's own PATH. In the container, as its user. */
export function findCommand(name: string, env: readonly string[]): string {
  if (name.includes('/')) {
    const problem = whyNotExecutable(name);
    if (problem !== undefined) throw commandError(name, problem);
    return name;
  }
  const path = env.find((one) => one.startsWith('PATH='))?.slice('PATH='.length) ?? defaultPath;
  let worst: 'missing' | 'not executable' = 'missing';
  for (const folder of path.split(':')) {
    const candidate = folder === '' ? `./${name}` : `${folder}/${name}`;
    const problem = whyNotExecutable(candidate);
    if (problem === undefined) return candidate;
    if (problem === 'not executable') worst = problem;
  }
  throw commandError(name, worst);
}

function whyNotExecutable(path: string): 'missing' | 'not executable' | undefined {
  try {
    if (statSync(path).isDirectory()) return 'not executable';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return isErrno(error, 'ENOENT', 'ENOTDIR') ? 'missing' : 'not executable';
  }
}

function commandError(command: string, problem: 'missing' | 'not executable'): FlotillaError {
  return problem === 'missing' ? commandNotFound(command) : commandNotExecutable(command, 'permission denied');
}

const commandNotFound = (command: string, cause?: unknown): FlotillaError =>
  new FlotillaError('not_found', `command not found in the container: ${command}`, {
    reason: 'COMMAND_NOT_FOUND',
    metadata: { command },
    cause,
  });

const commandNotExecutable = (command: string, why: string, cause?: unknown): FlotillaError =>
  new FlotillaError('permission_denied', `command cannot be executed: ${command}: ${why}`, {
    reason: 'COMMAND_NOT_EXECUTABLE',
    metadata: { command, why },
    cause,
  });

/** What execve(2) says of a file that looked executable. */
export function execError(command: string, error: unknown): unknown {
  if (isErrno(error, 'ENOENT', 'ENOTDIR')) return commandNotFound(command, error); // its interpreter is missing
  if (isErrno(error, 'EACCES', 'EPERM')) return commandNotExecutable(command, 'permission denied', error);
  if (isErrno(error, 'ENOEXEC', 'EINVAL', 'ELIBBAD')) return commandNotExecutable(command, 'exec format error', error);
  if (isErrno(error, 'E2BIG')) return commandNotExecutable(command, 'argument list too long', error);
  return error;
}
