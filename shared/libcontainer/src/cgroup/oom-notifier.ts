import { constants, openSync } from 'node:fs';
import { closeFd, eventfd, watchFile } from '@flotilla/linux';
import { writeFileOnce } from './group-files.ts';

/**
 * A descriptor that has something to read when a group has run out of memory; close-on-exec, the caller's to close. The
 * kernel may count the kill a moment later. Version 2: memory.events changes; version 1: an eventfd is registered
 * (Documentation/admin-guide/cgroup-v1/memory.rst, OOM Control), which is also told when the group goes.
 */
export function openOomNotifier(folder: string, version: 1 | 2): number {
  if (version === 2) return watchFile(`${folder}/memory.events`);
  const control = openSync(`${folder}/memory.oom_control`, constants.O_RDONLY);
  try {
    const fd = eventfd();
    try {
      writeFileOnce(`${folder}/cgroup.event_control`, `${fd} ${control}`);
      return fd;
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  } finally {
    closeFd(control);
  }
}
