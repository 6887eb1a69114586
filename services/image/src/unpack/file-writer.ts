import { setSize, writeAll } from './layer-applier.ts';
import type { LayerEntry } from './layer-entry.ts';
import { entryRefused } from './layer-error.ts';
import { checkedMap, type SparseMap } from './sparse.ts';

const block = 512;
const longestMap = 1 << 20;
/** Zeros of at least so many bytes become a hole: archives of sparse files mostly have them as data. */
const shortestHole = 4096;
const zeros = Buffer.alloc(1 << 20);

/** Writes one regular file's data to its places: as it comes, or between the holes of a sparse file. */
export class FileWriter {
  readonly #fd: number;
  readonly #entry: LayerEntry;
  #map: SparseMap | undefined;
  #piece = 0;
  #inPiece = 0;
  /** Of what comes without a map. */
  #offset = 0;
  #endsInHole = false;
  /** PAX format 1.0: what was read of the map. */
  #mapText: Buffer | undefined;

  constructor(fd: number, entry: LayerEntry) {
    this.#fd = fd;
    this.#entry = entry;
    this.#map = entry.sparse;
    if (entry.sparseInData !== undefined) this.#mapText = Buffer.alloc(0);
  }

  write(chunk: Buffer): void {
    const data = this.#mapText === undefined ? chunk : this.#readMap(chunk);
    if (this.#map === undefined) {
      if (data.length > 0) this.#writeNext(data);
      return;
    }
    for (let offset = 0; offset < data.length; ) {
      const piece = this.#map.pieces[this.#piece];
      if (piece === undefined) throw entryRefused(this.#entry.name, 'has more data than its sparse map says');
      const size = Math.min(data.length - offset, piece.sizeBytes - this.#inPiece);
      if (size > 0) writeAll(this.#fd, data.subarray(offset, offset + size), piece.offset + this.#inPiece);
      offset += size;
      this.#inPiece += size;
      if (this.#inPiece < piece.sizeBytes) continue;
      this.#piece++;
      this.#inPiece = 0;
    }
  }

  #writeNext(data: Buffer): void {
    this.#endsInHole = isHole(data);
    if (!this.#endsInHole) writeAll(this.#fd, data, this.#offset);
    this.#offset += data.length;
  }

  end(): void {
    if (this.#mapText !== undefined) throw entryRefused(this.#entry.name, 'ends within its sparse map');
    if (this.#map !== undefined) setSize(this.#fd, this.#map.realSizeBytes);
    else if (this.#endsInHole) setSize(this.#fd, this.#offset);
  }

  /** Decimal numbers, a line each, their count first, padded to a whole block (GNU tar manual, PAX 1). */
  #readMap(chunk: Buffer): Buffer {
    const text = Buffer.concat([this.#mapText!, chunk]);
    if (text.length > longestMap) throw entryRefused(this.#entry.name, 'has a sparse map of more than 1 MiB');
    this.#mapText = text;
    const lines = text.toString('latin1').split('\n');
    const count = Number(lines[0]);
    if (!(lines.length > 1)) return Buffer.alloc(0);
    if (!Number.isSafeInteger(count) || count < 0) throw entryRefused(this.#entry.name, 'has a broken sparse map');
    const needed = 1 + 2 * count;
    if (lines.length <= needed) return Buffer.alloc(0);
    const numbers = lines.slice(1, needed).map(Number);
    const length = lines.slice(0, needed).reduce((sum, line) => sum + line.length + 1, 0);
    const padded = Math.ceil(length / block) * block;
    if (text.length < padded) return Buffer.alloc(0);
    this.#map = checkedMap(numbers, this.#entry.sparseInData!, this.#entry.name);
    this.#mapText = undefined;
    return text.subarray(padded);
  }
}

function isHole(data: Buffer): boolean {
  if (data[0] !== 0 || data.length < shortestHole || data.length > zeros.length) return false;
  return data.equals(zeros.subarray(0, data.length));
}
