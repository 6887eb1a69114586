import { Transform, type TransformCallback } from 'node:stream';
import { archiveNotTar } from './layer-error.ts';
import { readOldSparseMap, type SparseMap } from './sparse.ts';
import { readNumber } from './tar-number.ts';

/** What a tar says of an entry besides what the parser keeps. */
export interface EntryNotes {
  /** Extended attributes by name: raw bytes, which the parser would read as UTF-8. */
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Where the pieces of a file in the old GNU sparse form belong. */
  readonly sparse: SparseMap | undefined;
}

const block = 512;
const longestPax = 4 << 20;
const xattrPrefix = 'SCHILY.xattr.';
const noXattrs: ReadonlyMap<string, Buffer> = new Map();

/**
 * Stands before the tar parser and keeps what it loses: binary values in PAX headers (pax(1), SCHILY.xattr), and the maps
 * of GNU sparse files (GNU tar manual, Sparse Formats), whose header it passes on as that of a plain file. Notes come in
 * the order of the entries.
 */
export class TarAnnotator extends Transform {
  readonly #notes: EntryNotes[] = [];
  #partial: Buffer = Buffer.alloc(0);
  /** Bytes of the current entry, padding included, that pass unseen. */
  #passing = 0;
  /** How much of the current entry is padding. */
  #padding = 0;
  /** A PAX header that is being collected. */
  #pax: { readonly chunks: Buffer[]; missing: number; readonly sizeBytes: number } | undefined;
  #xattrs: ReadonlyMap<string, Buffer> = noXattrs;
  /** An old sparse header whose map goes on in the next block. */
  #sparse: { readonly header: Buffer; readonly map: SparseMap } | undefined;

  /** The notes of the next entry: call it once for each that the parser gives. */
  takeNotes(): EntryNotes {
    return this.#notes.shift() ?? { xattrs: noXattrs, sparse: undefined };
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#read(chunk);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    if (this.#partial.length > 0) this.push(this.#partial);
    // Some writers end without the last padding, and Go's reader, which most engines use, does not mind.
    if (this.#passing > 0 && this.#passing <= this.#padding) this.push(Buffer.alloc(this.#passing));
    done();
  }

  #read(chunk: Buffer): void {
    let data = this.#partial.length === 0 ? chunk : Buffer.concat([this.#partial, chunk]);
    this.#partial = Buffer.alloc(0);
    while (data.length > 0) {
      if (this.#pax !== undefined) data = this.#collectPax(data);
      else if (this.#passing > 0 && this.#sparse === undefined) data = this.#pass(data);
      else if (data.length < block) {
        this.#partial = data;
        return;
      } else {
        this.#header(data.subarray(0, block));
        data = data.subarray(block);
      }
    }
  }

  #pass(data: Buffer): Buffer {
    const size = Math.min(data.length, this.#passing);
    this.#passing -= size;
    this.push(data.subarray(0, size));
    return data.subarray(size);
  }

  #collectPax(data: Buffer): Buffer {
    const pax = this.#pax!;
    const size = Math.min(data.length, pax.missing);
    pax.chunks.push(data.subarray(0, size));
    pax.missing -= size;
    this.push(data.subarray(0, size));
    if (pax.missing === 0) {
      this.#pax = undefined;
      this.#passing = padding(pax.sizeBytes);
      this.#xattrs = readXattrs(Buffer.concat(pax.chunks));
      this.#paxSize = readPaxSize(pax.chunks);
    }
    return data.subarray(size);
  }

  #paxSize: number | undefined;

  #header(header: Buffer): void {
    if (this.#sparse !== undefined) {
      this.#continueSparse(header);
      return;
    }
    if (header[0] === 0 && isZero(header)) {
      this.push(header);
      return;
    }
    const sizeBytes = readNumber(header, 124, 12);
    const type = header[156] === 0 ? '0' : String.fromCharCode(header[156]!);
    if (type === 'x') {
      if (sizeBytes > longestPax) throw archiveNotTar(new Error('PAX header exceeds max size'));
      this.push(header);
      if (sizeBytes > 0) this.#pax = { chunks: [], missing: sizeBytes, sizeBytes };
      return;
    }
    if (type === 'g' || type === 'L' || type === 'K') {
      this.push(header);
      this.#padding = 0;
      this.#passing = sizeBytes + padding(sizeBytes);
      return;
    }
    const real = this.#paxSize ?? sizeBytes;
    this.#padding = padding(real);
    this.#passing = real + this.#padding;
    if (type === 'S') {
      this.#startSparse(header);
      return;
    }
    // The parser takes a directory for empty whatever its header says.
    if (type === '5' || (type === '0' && namesDirectory(header))) this.#passing = 0;
    this.#entry(header, undefined);
  }

  #startSparse(header: Buffer): void {
    const map = readOldSparseMap(header, 386, 4);
    map.realSizeBytes = readNumber(header, 483, 12);
    const sparse = { header: Buffer.from(header), map };
    if (header[482] === 0) this.#entry(asPlainFile(sparse.header), map);
    else this.#sparse = sparse;
  }

  #continueSparse(extension: Buffer): void {
    const { header, map } = this.#sparse!;
    map.pieces.push(...readOldSparseMap(extension, 0, 21).pieces);
    if (extension[504] !== 0) return;
    this.#sparse = undefined;
    this.#entry(asPlainFile(header), map);
  }

  #entry(header: Buffer, sparse: SparseMap | undefined): void {
    this.#notes.push({ xattrs: this.#xattrs, sparse });
    this.#xattrs = noXattrs;
    this.#paxSize = undefined;
    this.push(header);
  }
}

function padding(sizeBytes: number): number {
  const over = sizeBytes % block;
  return over === 0 ? 0 : block - over;
}

function isZero(header: Buffer): boolean {
  return header.every((byte) => byte === 0);
}

/** Tars from before POSIX mark a directory by the slash behind its name. */
function namesDirectory(header: Buffer): boolean {
  const end = header.indexOf(0);
  return header[(end === -1 || end > 100 ? 100 : end) - 1] === 0x2f;
}

/** The header with type `0` and the checksum that goes with it. */
function asPlainFile(header: Buffer): Buffer {
  header[156] = '0'.charCodeAt(0);
  // The map and the real size stand where ustar has the prefix of the name.
  header.fill(0, 345, 500);
  header.fill(' ', 148, 156, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

function* paxRecords(data: Buffer): Generator<{ key: string; value: Buffer }> {
  let offset = 0;
  while (offset < data.length) {
    const blank = data.indexOf(0x20, offset);
    const length = blank === -1 ? Number.NaN : Number(data.toString('latin1', offset, blank));
    if (!Number.isInteger(length) || length <= 0 || offset + length > data.length) return;
    const equals = data.indexOf(0x3d, blank);
    if (equals === -1 || equals >= offset + length) return;
    yield { key: data.toString('utf8', blank + 1, equals), value: data.subarray(equals + 1, offset + length - 1) };
    offset += length;
  }
}

function readXattrs(data: Buffer): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const { key, value } of paxRecords(data)) {
    if (key.startsWith(xattrPrefix)) found.set(key.slice(xattrPrefix.length), Buffer.from(value));
  }
  return found.size === 0 ? noXattrs : found;
}

function readPaxSize(chunks: readonly Buffer[]): number | undefined {
  for (const { key, value } of paxRecords(Buffer.concat(chunks))) {
    if (key === 'size') {
      const size = Number(value.toString('latin1'));
      if (!Number.isSafeInteger(size) || size < 0) throw archiveNotTar(new Error('size out of range'));
      return size;
    }
  }
  return undefined;
}
