import { readFileSync } from 'node:fs';
import { isErrno } from '@flotilla/linux';

/** cgroup v2's counter, and v1's; a hybrid host has the second. */
const counters = [
  (cgroup: string) => `/sys/fs/cgroup${cgroup}/memory.events`,
  (cgroup: string) => `/sys/fs/cgroup/memory${cgroup}/memory.oom_control`,
];

/** Whether the kernel has killed a process of a cgroup (`/flotilla/<id>`) for want of memory. False without the group. */
export function wasOomKilled(cgroup: string): boolean {
  return counters.some((path) => {
    try {
      return Number(/^oom_kill (\d+)$/m.exec(readFileSync(path(cgroup), 'latin1'))?.[1] ?? 0) > 0;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENODEV')) return false;
      throw error;
    }
  });
}
