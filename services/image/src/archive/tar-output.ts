import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { formatDigest } from '@flotilla/oci';

const bufferBytes = 1 << 20;

export interface TarOutputOptions {
  /** Hashes what is written. */
  readonly hashed?: boolean;
  /** Called before each write: throws when the work is to stop. */
  readonly onWrite?: (totalBytes: number) => void;
}

/** Where a tar goes: an open file or pipe, written in large pieces. Blocks: for a thread of its own. */
export class TarOutput {
  readonly #fd: number;
  readonly #hash: ReturnType<typeof createHash> | undefined;
  readonly #onWrite: (totalBytes: number) => void;
  readonly #buffer = Buffer.allocUnsafe(bufferBytes);
  #used = 0;
  #written = 0;

  constructor(fd: number, { hashed = false, onWrite = () => {} }: TarOutputOptions = {}) {
    this.#fd = fd;
    this.#hash = hashed ? createHash('sha256') : undefined;
    this.#onWrite = onWrite;
  }

  write(data: Buffer): void {
    for (let done = 0; done < data.length; ) {
      const size = Math.min(data.length - done, this.#room());
      data.copy(this.#buffer, this.#used, done, done + size);
      this.#used += size;
      done += size;
    }
  }

  /** Writes what `read` puts into the buffer that it is given, until there are so many bytes; it answers 0 at its end. */
  fill(sizeBytes: number, read: (into: Buffer) => number): number {
    let left = sizeBytes;
    while (left > 0) {
      const room = Math.min(left, this.#room());
      const got = read(this.#buffer.subarray(this.#used, this.#used + room));
      if (got === 0) break;
      this.#used += got;
      left -= got;
    }
    return sizeBytes - left;
  }

  zeros(sizeBytes: number): void {
    this.fill(sizeBytes, (into) => into.fill(0).length);
  }

  /** Writes all that is left. */
  end(): { readonly digest: string | undefined; readonly sizeBytes: number } {
    this.#flush();
    const digest = this.#hash === undefined ? undefined : formatDigest(this.#hash.digest('hex'));
    return { digest, sizeBytes: this.#written };
  }

  #room(): number {
    if (this.#used === bufferBytes) this.#flush();
    return bufferBytes - this.#used;
  }

  #flush(): void {
    this.#onWrite(this.#written + this.#used);
    const data = this.#buffer.subarray(0, this.#used);
    this.#hash?.update(data);
    for (let done = 0; done < data.length; ) done += writeSync(this.#fd, data, done);
    this.#written += data.length;
    this.#used = 0;
  }
}
