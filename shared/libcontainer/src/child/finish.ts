import { FlotillaError } from '@flotilla/errors';
import {
  changeDirectory,
  execve,
  exitNow,
  findWorkingDirectory,
  isErrno,
  markCloseOnExec,
  resetSignals,
} from '@flotilla/linux';
import { prepareSeccomp } from '@flotilla/linux/seccomp';
import { awaitSign, tell } from '../channel.ts';
import type { ProcessPlan } from '../plan/process-plan.ts';
import { toErrorMessage } from '../setup-error.ts';
import { execError, findCommand } from './command.ts';
import { becomeUser, confine, setLimits } from './credentials.ts';

const exitCodes: Readonly<Record<string, number>> = { COMMAND_NOT_FOUND: 127, COMMAND_NOT_EXECUTABLE: 126 };
const engineError = 125;

/** Says that all is set up, waits for the parent's sign, becomes the user and executes the program. */
export function finish(
  plan: ProcessPlan,
  channelFd: number,
  warnings: readonly string[],
  masterFd: number | undefined,
): never {
  tell(channelFd, { type: 'ready', warnings }, masterFd);
  if (!awaitSign(channelFd)) exitNow(engineError);
  const seccomp = plan.seccomp && prepareSeccomp(plan.seccomp.program, plan.seccomp.flags);
  resetSignals();
  becomeUser(plan);
  enterWorkingDirectory(plan.cwd); // again: as the user, who may lack the right
  const command = findCommand(plan.args[0]!, plan.env);
  setLimits(plan);
  tell(channelFd, { type: 'executing' }); // before the filter, which may forbid it
  markCloseOnExec(3);
  confine(plan, seccomp);
  try {
    execve(command, plan.args, plan.env);
  } catch (error) {
    throw execError(plan.args[0]!, error);
  }
}

/** chdir(2), and proof that it led to a folder inside the root (CVE-2024-21626). */
export function enterWorkingDirectory(path: string): void {
  try {
    changeDirectory(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG'))
      throw workingDirInvalid(path, String((error as Error).message), error);
    throw error;
  }
  if (findWorkingDirectory() === undefined) throw workingDirInvalid(path, 'it lies outside the root filesystem');
}

/** The working directory cannot be entered. */
export function workingDirInvalid(path: string, why: string, cause?: unknown): FlotillaError {
  return new FlotillaError('failed_precondition', `working directory cannot be entered: ${path}: ${why}`, {
    reason: 'WORKING_DIR_INVALID',
    metadata: { path, why },
    cause,
  });
}

/** Runs a child's work; a failure goes to the parent, and the process ends with the code that a shell would give. */
export function guarded(channelFd: number, work: () => never): never {
  try {
    return work();
  } catch (error) {
    const message = toErrorMessage(error);
    try {
      tell(channelFd, { type: 'failed', error: message });
    } finally {
      exitNow(exitCodes[message.reason] ?? engineError);
    }
  }
}
