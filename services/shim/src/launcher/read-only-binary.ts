import { closeSync, openSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import process from 'node:process';
import {
  execve,
  execveFd,
  isErrno,
  MOUNT_ATTR_RDONLY,
  openTree,
  setCloseOnExec,
  setMountAttributes,
} from '@flotilla/linux';

/** Tells the second stage how its binary is protected: `read-only`, or why it is not. */
const stageVariable = 'FLOTILLA_LAUNCHER_BINARY';

/**
 * Executes Node.js anew from a detached, read-only copy of its mount and goes on there; answers in the second stage only,
 * with what is wrong when that copy could not be made. What is forked from it enters containers, and there, a
 * `/proc/self/exe` that can be opened for writing, once nobody runs it, would be the host's binary (CVE-2019-5736).
 */
export function enterReadOnlyBinary(nodeFlags: readonly string[] = []): string | undefined {
  const stage = process.env[stageVariable];
  if (stage !== undefined) {
    delete process.env[stageVariable];
    return stage === 'read-only' ? undefined : stage;
  }
  const passed = Number(process.env.LISTEN_FDS ?? '0');
  for (let fd = 0; fd < 3 + passed; fd++) keepOpen(fd);
  const argv = [process.execPath, ...process.execArgv, ...nodeFlags, ...process.argv.slice(1)];
  const env = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  flushCompileCache(); // At its end, which this process never comes to, Node.js would have written it.
  try {
    const binary = openReadOnlyCopy(process.execPath);
    execveFd(binary, argv, [...env, `${stageVariable}=read-only`]);
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'ENOSYS', 'EINVAL', 'EACCES')) throw error;
    execve(process.execPath, argv, [...env, `${stageVariable}=${(error as Error).message}`]);
  }
}

/** An open file of a mount that nobody can reach by path, make writable or unmount. */
function openReadOnlyCopy(path: string): number {
  const mountFd = openTree(path);
  setMountAttributes(mountFd, { set: MOUNT_ATTR_RDONLY });
  return mountFd;
}

/** Node.js marks what it finds open at its start close-on-exec. From 3 on is what the service manager has passed. */
function keepOpen(fd: number): void {
  try {
    setCloseOnExec(fd, false);
  } catch (error) {
    if (!isErrno(error, 'EBADF')) throw error;
    if (fd < 3) reopen(fd);
  }
}

/** A free number below 3 would be taken by the first file that is opened. */
function reopen(fd: number): void {
  const opened = openSync('/dev/null', 'r+');
  if (opened !== fd) closeSync(opened);
}
