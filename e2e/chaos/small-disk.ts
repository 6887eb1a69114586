import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { FaultKind } from './faults.ts';

const sizeBytes = 256 * 1024 * 1024;
const slowBytesPerSecond = 256 * 1024;
const throttle = 'blkio.throttle.write_bps_device';

/** A file system of its own in a file, so that it can be full or slow without touching the host's. */
export class SmallDisk {
  readonly #mountPoint: string;
  /** `major:minor` of its loop device. */
  readonly #device: string;
  #fault: FaultKind | undefined;

  private constructor(mountPoint: string) {
    this.#mountPoint = mountPoint;
    const { dev } = statSync(mountPoint, { bigint: true });
    this.#device = `${(dev >> 8n) & 0xfffn}:${(dev & 0xffn) | ((dev >> 12n) & 0xfff00n)}`; // makedev(3)
  }

  /** Makes one in a file and mounts it. The loop device goes with the last mount: losetup(8), autoclear. */
  static mount(file: string, mountPoint: string): SmallDisk {
    writeFileSync(file, '');
    truncateSync(file, sizeBytes);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', file]);
    mkdirSync(mountPoint, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['-o', 'loop', file, mountPoint]);
    rmSync(join(mountPoint, 'lost+found'), { recursive: true });
    return new SmallDisk(mountPoint);
  }

  /** Why a fault cannot be made here; undefined when it can. */
  static problem(kind: FaultKind): string | undefined {
    if (!existsSync('/dev/loop-control')) return 'this host has no loop devices';
    if (kind === 'disk-slow' && !existsSync(join(ownBlkioGroup(), throttle))) {
      return 'the blkio controller of cgroup v1, by which a device is slowed down, is not there';
    }
    return undefined;
  }

  /** False when another fault is on. */
  begin(kind: FaultKind): boolean {
    if (this.#fault !== undefined) return false;
    this.#fault = kind;
    if (kind === 'disk-full') this.#fill();
    else this.#slowDown(slowBytesPerSecond);
    return true;
  }

  end(): void {
    if (this.#fault === 'disk-full') rmSync(this.#filler);
    if (this.#fault === 'disk-slow') this.#slowDown(0);
    this.#fault = undefined;
  }

  get #filler(): string {
    return join(this.#mountPoint, 'filler');
  }

  #fill(): void {
    const { bavail, bsize } = statfsSync(this.#mountPoint);
    const fd = openSync(this.#filler, 'ax', 0o600);
    try {
      execFileSync('fallocate', ['--length', String(Math.max(1, bavail - 64) * bsize), this.#filler], {
        stdio: 'ignore',
      });
    } catch {
      // others have written meanwhile: what is left is written to
    }
    for (const length of [1 << 20, bsize]) writeUntilFull(fd, Buffer.alloc(length));
    closeSync(fd);
  }

  /** 0: as fast as it is. Of this one device, for all that is in this process's group and so for the engine. */
  #slowDown(bytesPerSecond: number): void {
    writeFileSync(join(ownBlkioGroup(), throttle), `${this.#device} ${bytesPerSecond}`);
  }
}

/** Folder of the cgroup v1 group that bounds this process's block devices: cgroups(7). */
function ownBlkioGroup(): string {
  const line = readFileSync('/proc/self/cgroup', 'utf8').match(/^\d+:(?:\S+,)?blkio(?:,\S+)?:(.*)$/m);
  return line === null ? '/nowhere' : join('/sys/fs/cgroup/blkio', line[1] ?? '');
}

function writeUntilFull(fd: number, block: Buffer): void {
  try {
    for (;;) writeSync(fd, block);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
