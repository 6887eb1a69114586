import { globSync, rmdirSync } from 'node:fs';

/** Removes the instance's group in every cgroup hierarchy, unless it has groups of containers in it: cgroups(7). */
export function removeEmptyCgroups(instance: string): void {
  for (const path of globSync(`/sys/fs/cgroup/{*/,}${instance}`)) {
    try {
      rmdirSync(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EBUSY' && code !== 'ENOENT') throw error;
    }
  }
}
