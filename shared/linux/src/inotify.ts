import { closeFd } from './descriptors.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const IN_MODIFY = 0x2;
const IN_NONBLOCK = 0x800;
const IN_CLOEXEC = 0x80000;

const cInotifyInit = libc.func('int inotify_init1(int flags)');
const cInotifyAddWatch = libc.func('int inotify_add_watch(int fd, const char *path, uint32_t mask)');

/**
 * A descriptor, close-on-exec and non-blocking, that has something to read each time a file has changed (inotify(7),
 * IN_MODIFY): a file of a cgroup, too.
 */
export function watchFile(path: string): number {
  const fd = check(cInotifyInit(IN_NONBLOCK | IN_CLOEXEC), 'inotify_init1');
  try {
    check(cInotifyAddWatch(fd, path, IN_MODIFY), 'inotify_add_watch', path);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
