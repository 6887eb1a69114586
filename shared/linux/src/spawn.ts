import { libc } from './libc.ts';
import { SyscallError } from './syscall-error.ts';

const cSpawn = libc.func(
  'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
);
const cActionsInit = libc.func('int posix_spawn_file_actions_init(void *actions)');
const cActionsDestroy = libc.func('int posix_spawn_file_actions_destroy(void *actions)');
const cActionsDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int newfd)');
const cActionsCloseFrom = libc.func('int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)');
const cAttrInit = libc.func('int posix_spawnattr_init(void *attributes)');
const cAttrDestroy = libc.func('int posix_spawnattr_destroy(void *attributes)');
const cAttrSetflags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)');
const cAttrSetsigmask = libc.func('int posix_spawnattr_setsigmask(void *attributes, void *set)');
const cAttrSetsigdefault = libc.func('int posix_spawnattr_setsigdefault(void *attributes, void *set)');

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
/** glibc: posix_spawn_file_actions_t has 80 bytes, posix_spawnattr_t 336. */
const actionsBytes = 128;
const attributesBytes = 512;
const sigsetBytes = 128;

/** A program to start. */
export interface SpawnPlan {
  readonly path: string;
  readonly argv: readonly string[];
  /** As `NAME=value`. */
  readonly env: readonly string[];
  /** The new process's descriptors: entry n becomes descriptor n; all others are closed. */
  readonly fds: readonly number[];
  /** Starts a session of its own. */
  readonly newSession?: boolean;
}

/**
 * posix_spawn(3): starts a program with default signals and an empty mask. C only, no JavaScript runs in the child: so it
 * works where a fork of Node.js does not. Throws what execve(2) said.
 */
export function posixSpawn({ path, argv, env, fds, newSession = false }: SpawnPlan): number {
  const actions = Buffer.allocUnsafeSlow(actionsBytes);
  const attributes = Buffer.allocUnsafeSlow(attributesBytes);
  done(cActionsInit(actions), 'posix_spawn_file_actions_init');
  done(cAttrInit(attributes), 'posix_spawnattr_init');
  try {
    placeFds(actions, fds);
    done(cActionsCloseFrom(actions, fds.length), 'posix_spawn_file_actions_addclosefrom_np');
    done(cAttrSetsigmask(attributes, Buffer.alloc(sigsetBytes)), 'posix_spawnattr_setsigmask');
    done(cAttrSetsigdefault(attributes, Buffer.alloc(sigsetBytes, 0xff)), 'posix_spawnattr_setsigdefault');
    const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (newSession ? POSIX_SPAWN_SETSID : 0);
    done(cAttrSetflags(attributes, flags), 'posix_spawnattr_setflags');
    const pid: [number] = [0];
    done(cSpawn(pid, path, actions, attributes, [...argv, null], [...env, null]), 'posix_spawn', path);
    return pid[0];
  } finally {
    cAttrDestroy(attributes);
    cActionsDestroy(actions);
  }
}

/** In two steps, out of the way and then into place, because a source may have the number of another's target. */
function placeFds(actions: Buffer, fds: readonly number[]): void {
  const free = Math.max(...fds, fds.length) + 1;
  fds.forEach((fd, i) => {
    done(cActionsDup2(actions, fd, free + i), 'posix_spawn_file_actions_adddup2', `fd ${fd}`);
  });
  fds.forEach((_, i) => {
    done(cActionsDup2(actions, free + i, i), 'posix_spawn_file_actions_adddup2');
  });
}

/** These functions return the error instead of setting errno. */
function done(error: number, syscall: string, path?: string): void {
  if (error !== 0) throw new SyscallError(syscall, error, path);
}
