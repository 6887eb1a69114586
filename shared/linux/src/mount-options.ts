import {
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  mount,
  umount,
} from './mount.ts';

const MS_SYNCHRONOUS = 0x10;
const MS_REMOUNT = 0x20;
const MS_MANDLOCK = 0x40;
const MS_DIRSYNC = 0x80;
const MS_NOATIME = 0x400;
const MS_NODIRATIME = 0x800;
const MS_RELATIME = 0x200000;
const MS_STRICTATIME = 0x1000000;

/** Option of mount(8) → flags of mount(2) set, flags cleared. */
const flagOptions: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  defaults: [0, 0],
  ro: [MS_RDONLY, 0],
  rw: [0, MS_RDONLY],
  nosuid: [MS_NOSUID, 0],
  suid: [0, MS_NOSUID],
  nodev: [MS_NODEV, 0],
  dev: [0, MS_NODEV],
  noexec: [MS_NOEXEC, 0],
  exec: [0, MS_NOEXEC],
  sync: [MS_SYNCHRONOUS, 0],
  async: [0, MS_SYNCHRONOUS],
  dirsync: [MS_DIRSYNC, 0],
  mand: [MS_MANDLOCK, 0],
  nomand: [0, MS_MANDLOCK],
  noatime: [MS_NOATIME, 0],
  atime: [0, MS_NOATIME],
  nodiratime: [MS_NODIRATIME, 0],
  diratime: [0, MS_NODIRATIME],
  relatime: [MS_RELATIME, 0],
  norelatime: [0, MS_RELATIME],
  strictatime: [MS_STRICTATIME, 0],
  nostrictatime: [0, MS_STRICTATIME],
  bind: [MS_BIND, 0],
  rbind: [MS_BIND | MS_REC, 0],
};

const propagationOptions: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  slave: MS_SLAVE,
  rslave: MS_SLAVE | MS_REC,
  shared: MS_SHARED,
  rshared: MS_SHARED | MS_REC,
  unbindable: MS_UNBINDABLE,
  runbindable: MS_UNBINDABLE | MS_REC,
};

/** Options of mount(8), taken apart for mount(2). */
export interface MountOptions {
  /** MS_…, without those of propagation. */
  readonly flags: number;
  /** MS_SHARED and the like, each a call of its own; 0 for none. */
  readonly propagation: number;
  /** What is the file system's own business. */
  readonly data: string;
}

/** Parses `ro,size=1m`; what is no option of the kernel's own is for the file system. */
export function parseMountOptions(text: string): MountOptions {
  let [flags, propagation] = [0, 0];
  const data: string[] = [];
  for (const option of text.split(',')) {
    const change = flagOptions[option];
    if (change !== undefined) flags = (flags & ~change[1]) | change[0];
    else if (propagationOptions[option] !== undefined) propagation |= propagationOptions[option];
    else if (option !== '') data.push(option);
  }
  return { flags, propagation, data: data.join(',') };
}

/** What to mount with options of mount(8). */
export interface OptionMount {
  /** `none` and a bind option for a folder of the host. */
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: MountOptions;
}

/**
 * As mount(8) does it: propagation needs a call of its own, and so do a bind's flags (ro, nosuid, nodev, noexec, …), which the
 * kernel does not look at when it binds: mount(2), NOTES. All of it or nothing.
 */
export function mountWithOptions({ type, source, target, options: { flags, propagation, data } }: OptionMount): void {
  mount({ source, target, type, flags, data });
  try {
    if (propagation !== 0) mount({ target, flags: propagation });
    const isBindWithFlags = (flags & MS_BIND) !== 0 && (flags & ~(MS_BIND | MS_REC)) !== 0;
    if (isBindWithFlags) mount({ target, flags: flags | MS_REMOUNT });
  } catch (error) {
    umount(target, { detach: true });
    throw error;
  }
}
