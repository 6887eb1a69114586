import { randomUUID } from 'node:crypto';
import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { syncfs } from '@flotilla/linux';
import type { Database } from '@flotilla/store';
import { digestMismatch } from '../domain/errors.ts';
import type { UnpackLimits } from '../unpack/limits.ts';
import { unpackLayer } from '../unpack/unpack-layer.ts';
import type { Swept } from './content-store.ts';
import { flushFolder } from './flush-folder.ts';
import type { Snapshotter } from './snapshotters/snapshotter.ts';

/** A layer to have unpacked. */
export interface LayerRequest {
  readonly chainId: string;
  readonly diffId: string;
  readonly blobPath: string;
  readonly digest: string;
  /** Chain ids of the layers below, lowest first: unpacked already. */
  readonly below: readonly string[];
}

interface Layer {
  readonly number: number;
  readonly sizeBytes: number;
}

/**
 * Unpacked layers, once each: `layers/<number>/fs`. A layer is unpacked beside, flushed, renamed, and recorded last; what
 * has no record at start is removed. Short names keep the mount options of many layers short. What `fs` holds, the snapshotter
 * decides.
 */
export class LayerStore {
  readonly #folder: string;
  readonly #database: Database;
  readonly #limits: UnpackLimits;
  readonly #snapshotter: Snapshotter;
  readonly #layers = new Map<string, Layer>();
  readonly #unpacking = new Map<string, Promise<Layer>>();
  /** Layers that a load under way counts on although no image has them yet. */
  readonly #pinned = new Map<string, number>();
  #counter = 0;
  #onUnpinned = () => {};

  constructor(root: string, database: Database, limits: UnpackLimits, snapshotter: Snapshotter) {
    this.#folder = join(root, 'layers');
    this.#database = database;
    this.#limits = limits;
    this.#snapshotter = snapshotter;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const rows = database.prepare('SELECT layer_number, chain_id, size_bytes FROM layers').all();
    for (const row of rows as unknown as { layer_number: number; chain_id: string; size_bytes: number }[]) {
      this.#layers.set(row.chain_id, { number: row.layer_number, sizeBytes: row.size_bytes });
    }
    const known = new Set([...this.#layers.values()].map(({ number }) => String(number)));
    for (const name of readdirSync(this.#folder)) if (!known.has(name)) void this.#discard(name);
  }

  /** The unpacked root of a layer. */
  path(chainId: string): string {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) throw new Error(`layer ${chainId} is not unpacked`);
    return join(this.#folder, String(layer.number), 'fs');
  }

  /** Whether a layer is unpacked. */
  has(chainId: string): boolean {
    return this.#layers.has(chainId);
  }

  size(chainId: string): number {
    return this.#layers.get(chainId)?.sizeBytes ?? 0;
  }

  /** A lease, as ContentStore's: keeps layers from collection until the result is disposed. */
  pin(chainIds: readonly string[]): Disposable {
    for (const id of chainIds) this.#pinned.set(id, (this.#pinned.get(id) ?? 0) + 1);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        for (const id of chainIds) {
          const left = this.#pinned.get(id)! - 1;
          if (left === 0) this.#pinned.delete(id);
          else this.#pinned.set(id, left);
        }
        this.#onUnpinned();
      },
    };
  }

  /** Called at the end of each lease. */
  onUnpinned(listener: () => void): void {
    this.#onUnpinned = listener;
  }

  /** Makes sure that a layer is unpacked; asked for several times at once, it is done once. */
  async ensure(request: LayerRequest, onProgress: (bytes: number) => void, signal?: AbortSignal): Promise<number> {
    const there = this.#layers.get(request.chainId);
    if (there !== undefined) return there.sizeBytes;
    const running = this.#unpacking.get(request.chainId);
    if (running !== undefined) {
      try {
        return (await running).sizeBytes;
      } catch {
        // The other one may have been cancelled; this one tries for itself.
        return this.ensure(request, onProgress, signal);
      }
    }
    const started = this.#unpack(request, onProgress, signal);
    this.#unpacking.set(request.chainId, started);
    try {
      return (await started).sizeBytes;
    } finally {
      this.#unpacking.delete(request.chainId);
    }
  }

  async #unpack(
    { chainId, diffId, blobPath, digest, below }: LayerRequest,
    onProgress: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Layer> {
    const name = `new-${process.pid}-${++this.#counter}`;
    const folder = join(this.#folder, name);
    const parents = this.#snapshotter.stacked ? this.#paths(below) : this.#paths(below).slice(0, 1);
    try {
      const directory = await this.#snapshotter.beginLayer(folder, parents[0], signal);
      const unpacked = await unpackLayer(
        { blobPath, directory, below: parents, layer: digest, limits: this.#limits },
        { signal, onProgress },
      );
      if (unpacked.diffId !== diffId) throw digestMismatch(`layer ${digest}, uncompressed,`, diffId, unpacked.diffId);
      await this.#snapshotter.finishLayer(folder, signal);
      flushFileSystem(folder);
      return this.#record(folder, chainId, unpacked.sizeBytes);
    } catch (error) {
      // A commit that failed has left it under its number, which comes again.
      if (existsSync(folder)) await this.#discard(name);
      throw error;
    }
  }

  /** Uppermost first. */
  #paths(chainIds: readonly string[]): string[] {
    return chainIds.map((chainId) => this.path(chainId)).reverse();
  }

  #record(folder: string, chainId: string, sizeBytes: number): Layer {
    return this.#database.transact(() => {
      const { lastInsertRowid } = this.#database
        .prepare('INSERT INTO layers (chain_id, size_bytes) VALUES (?, ?)')
        .run(chainId, sizeBytes);
      const layer = { number: Number(lastInsertRowid), sizeBytes };
      const path = join(this.#folder, String(layer.number));
      if (existsSync(path)) void this.#discard(String(layer.number));
      renameSync(folder, path);
      // Power loss may leave a layer without a record, which goes, but never a record without its layer.
      flushFolder(this.#folder);
      this.#database.afterCommit(() => this.#layers.set(chainId, layer));
      return layer;
    });
  }

  /** Removes layers that no image has and nothing counts on: says which. */
  collect(wanted: ReadonlySet<string>): Swept & { readonly chainIds: readonly string[] } {
    const chainIds: string[] = [];
    let bytes = 0;
    let leased = false;
    for (const [chainId, { sizeBytes }] of this.#layers) {
      if (wanted.has(chainId)) continue;
      if (this.#pinned.has(chainId)) {
        leased = true;
        continue;
      }
      chainIds.push(chainId);
      bytes += sizeBytes;
    }
    if (chainIds.length > 0) this.#database.transact(() => this.#forget(chainIds));
    return { chainIds, bytes, leased };
  }

  /** The records first: what is cut off here is removed at the next start. */
  #forget(chainIds: readonly string[]): void {
    const statement = this.#database.prepare('DELETE FROM layers WHERE chain_id = ?');
    for (const chainId of chainIds) statement.run(chainId);
    this.#database.afterCommit(() => {
      for (const chainId of chainIds) {
        const { number } = this.#layers.get(chainId)!;
        this.#layers.delete(chainId);
        void this.#discard(String(number));
      }
    });
  }

  /** Out of the way at once, since its number may come again; gone a little later. */
  async #discard(name: string): Promise<void> {
    const gone = name.startsWith('gone-') ? name : `gone-${randomUUID()}`;
    try {
      if (gone !== name) renameSync(join(this.#folder, name), join(this.#folder, gone));
      await this.#snapshotter.remove(join(this.#folder, gone));
    } catch {
      // The next start tries again.
    }
  }
}

function flushFileSystem(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    syncfs(fd);
  } finally {
    closeSync(fd);
  }
}
