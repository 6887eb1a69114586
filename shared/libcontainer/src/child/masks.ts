import { fstatSync } from 'node:fs';
import {
  closeFd,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  openFileSystem,
  openTree,
  openTreeOf,
  setMountAttributes,
} from '@flotilla/linux';
import { step } from '../setup-error.ts';
import { attach, refused } from './attach.ts';
import { isDevice } from './devices.ts';
import { findInRoot } from './root-paths.ts';

const nullDevice = { type: 'c', major: 1, minor: 3 } as const;

/** The host's /dev/null as a detached mount; proven to be it before anything is hidden under it (CVE-2025-31133). */
export function openNullDevice(): number {
  const fd = openTree('/dev/null');
  if (isDevice(fd, nullDevice)) {
    setMountAttributes(fd, { set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC });
    return fd;
  }
  closeFd(fd);
  throw refused('/dev/null', "the host's /dev/null is not the null device");
}

/** Hides paths: /dev/null over a file, an empty read-only folder over a folder. What does not exist needs no hiding. */
export function maskPaths(rootFd: number, paths: readonly string[], openedNullFd?: number): void {
  if (paths.length === 0) return;
  const masks = new Masks(openedNullFd);
  try {
    for (const path of paths) {
      step(`mask ${path}`, () => {
        const fd = findInRoot(rootFd, path);
        if (fd !== undefined) masks.cover(fd, path);
      });
    }
  } finally {
    masks.close();
  }
}

/** A copy can be taken only of what is attached: so the first of each kind is attached, the others are its copies. */
class Masks {
  #file: number | undefined;
  #folder: number | undefined;
  readonly #openedNullFd: number | undefined;

  constructor(openedNullFd: number | undefined) {
    this.#openedNullFd = openedNullFd;
  }

  /** Closes `targetFd`. */
  cover(targetFd: number, path: string): void {
    if (fstatSync(targetFd).isDirectory()) {
      if (this.#folder !== undefined) {
        this.#copy(this.#folder, targetFd, path);
        return;
      }
      this.#folder = openFileSystem({
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nr_blocks=1', 'nr_inodes=1'],
        attributes: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
      });
      attach(this.#folder, targetFd, path);
      return;
    }
    if (this.#file !== undefined) {
      this.#copy(this.#file, targetFd, path);
      return;
    }
    this.#file = this.#openedNullFd ?? openNullDevice();
    attach(this.#file, targetFd, path);
  }

  #copy(sourceFd: number, targetFd: number, path: string): void {
    const copyFd = openTreeOf(sourceFd);
    try {
      attach(copyFd, targetFd, path);
    } finally {
      closeFd(copyFd);
    }
  }

  close(): void {
    for (const fd of [this.#file, this.#folder]) if (fd !== undefined) closeFd(fd);
  }
}

/** Makes paths read-only by laying each over itself. Those that do not exist are left out. */
export function makeReadonly(rootFd: number, paths: readonly string[]): void {
  for (const path of paths) {
    step(`make ${path} read-only`, () => {
      const fd = findInRoot(rootFd, path);
      if (fd === undefined) return;
      const copyFd = openTreeOf(fd, { recursive: true });
      try {
        setMountAttributes(copyFd, { set: MOUNT_ATTR_RDONLY });
        attach(copyFd, fd, path);
      } finally {
        closeFd(copyFd);
      }
    });
  }
}
