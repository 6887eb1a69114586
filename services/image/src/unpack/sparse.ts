import { entryRefused } from './layer-error.ts';
import { readNumber } from './tar-number.ts';

/** A piece of a sparse file: what the archive holds, in order. */
export interface SparsePiece {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Where the pieces belong; between them are holes. */
export interface SparseMap {
  readonly pieces: SparsePiece[];
  realSizeBytes: number;
}

const pieceLength = 24;

/** Reads so many entries of the old GNU form at most; one without a size is the last. */
export function readOldSparseMap(data: Buffer, offset: number, count: number): SparseMap {
  const pieces: SparsePiece[] = [];
  for (let i = 0; i < count; i++) {
    const at = offset + i * pieceLength;
    if (data[at] === 0) break;
    pieces.push({ offset: readNumber(data, at, 12), sizeBytes: readNumber(data, at + 12, 12) });
  }
  return { pieces, realSizeBytes: 0 };
}

/** The map of PAX format 0.1: `offset,size,…` in `GNU.sparse.map`. */
export function readPaxSparseMap(pax: Readonly<Record<string, string>>, entry: string): SparseMap | undefined {
  const text = pax['GNU.sparse.map'];
  if (text === undefined) return undefined;
  const numbers = text === '' ? [] : text.split(',').map(Number);
  return checkedMap(numbers, Number(pax['GNU.sparse.size']), entry);
}

/** A map from pairs of numbers. LAYER_ENTRY_REFUSED when they are not in order or out of the file. */
export function checkedMap(numbers: readonly number[], realSizeBytes: number, entry: string): SparseMap {
  const pieces: SparsePiece[] = [];
  let end = 0;
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    const [offset, sizeBytes] = [numbers[i]!, numbers[i + 1]!];
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(sizeBytes) || offset < end || sizeBytes < 0) {
      throw entryRefused(entry, 'has a sparse map that is not in order');
    }
    end = offset + sizeBytes;
    pieces.push({ offset, sizeBytes });
  }
  if (!Number.isSafeInteger(realSizeBytes) || realSizeBytes < end) {
    throw entryRefused(entry, 'has a sparse map that leaves the file');
  }
  return { pieces, realSizeBytes };
}
