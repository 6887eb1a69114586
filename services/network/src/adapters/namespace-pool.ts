import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { listLinks } from '@flotilla/linux/netlink';
import type { Logger } from '@flotilla/log';
import { createNamespace, type Namespace, namespaceInode, openNamespace, pinAlso, unpin } from './namespace.ts';

/** Making one takes a millisecond: one at a time, with room for requests in between. */
const refillPauseMs = 15;

export interface NamespacePoolOptions {
  /** `${FLOTILLA_RUN}/netns`. */
  readonly folder: string;
  /** How many are kept ready. */
  readonly size: number;
  readonly log: Logger;
}

/** The namespaces of sandboxes, pinned as `<sandbox id>`, and some that are ready to become one, pinned as `warm-<n>`. */
export class NamespacePool implements Disposable {
  readonly #options: NamespacePoolOptions;
  readonly #warm: Namespace[] = [];
  /** Pins of namespaces that have become sandboxes'. */
  readonly #outdated: string[] = [];
  #made = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: NamespacePoolOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  }

  /** File that pins a sandbox's namespace. */
  pathOf(sandboxId: string): string {
    return join(this.#options.folder, sandboxId);
  }

  /** Gives a sandbox a namespace of its own; the caller disposes of the descriptors. */
  take(sandboxId: string): Namespace {
    const path = this.pathOf(sandboxId);
    const warm = this.#warm.shift();
    this.#tidySoon();
    if (warm === undefined) {
      unpin(path);
      return createNamespace(path);
    }
    try {
      pinAlso(warm, path);
    } catch (error) {
      warm[Symbol.dispose]();
      unpin(path);
      throw error;
    } finally {
      this.#outdated.push(warm.path);
    }
    return warm;
  }

  /** A sandbox's namespace, undefined when nothing pins it any more. */
  open(sandboxId: string): Namespace | undefined {
    return openNamespace(this.pathOf(sandboxId));
  }

  /** Lets go of a sandbox's namespace. It is gone, with its links, once nothing runs in it. */
  release(sandboxId: string): void {
    // First: the last pin to go is the one that says whose it was.
    this.#removeOutdated();
    unpin(this.pathOf(sandboxId));
  }

  /** Removes what belongs to no sandbox, takes over what an earlier process had ready, fills up. */
  start(sandboxIds: ReadonlySet<string>): void {
    const names = readdirSync(this.#options.folder);
    const isWarm = (name: string): boolean => /^warm-\d+$/.test(name);
    for (const name of names) if (!sandboxIds.has(name) && !isWarm(name)) unpin(this.pathOf(name));
    const inodes = new Set(
      names.filter((name) => sandboxIds.has(name)).map((name) => namespaceInode(this.pathOf(name))),
    );
    for (const name of names.filter(isWarm)) {
      const path = this.pathOf(name);
      this.#made = Math.max(this.#made, Number(name.slice('warm-'.length)));
      const namespace = openNamespace(path);
      // One that became a sandbox's just before the end of the process is not ready for another.
      if (namespace !== undefined && !inodes.has(namespaceInode(path)) && isUnused(namespace)) {
        this.#warm.push(namespace);
        continue;
      }
      namespace?.[Symbol.dispose]();
      unpin(path);
    }
    this.#tidySoon();
  }

  /** Removes outdated pins and makes new namespaces, bit by bit. */
  #tidySoon(): void {
    if (this.#closed || this.#timer !== undefined) return;
    if (this.#outdated.length === 0 && this.#warm.length >= this.#options.size) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      try {
        this.#tidy();
      } catch (err) {
        this.#options.log.warn({ err }, 'no network namespace could be made ready');
        return; // The next request makes its own, and says why if that fails too.
      }
      this.#tidySoon();
    }, refillPauseMs);
  }

  #tidy(): void {
    this.#removeOutdated();
    if (this.#warm.length < this.#options.size) this.#warm.push(createNamespace(this.pathOf(`warm-${++this.#made}`)));
  }

  #removeOutdated(): void {
    for (let path = this.#outdated[0]; path !== undefined; path = this.#outdated[0]) {
      unpin(path);
      this.#outdated.shift();
    }
  }

  /** Removes those that are ready; sandboxes' stay. */
  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#removeOutdated();
    for (const namespace of this.#warm.splice(0)) {
      namespace[Symbol.dispose]();
      unpin(namespace.path);
    }
  }
}

function isUnused({ socket }: Namespace): boolean {
  return listLinks(socket).every(({ kind }) => kind !== 'veth');
}
