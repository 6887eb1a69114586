export type LogStream = 'stdout' | 'stderr';

/** Inside a line of which pieces were logged: when its first piece was read; 0 at the beginning of a line. */
export interface LinePosition {
  continuedAtUnixNano: bigint;
}

/** Output to be logged. */
export interface LogPiece {
  readonly stream: LogStream;
  /** All that was read of the stream and is not logged: lines, and perhaps the beginning of one. */
  readonly data: Uint8Array;
  /** When the last of it was read: the time of the records that begin in it. */
  readonly atUnixNano: bigint;
  /** Moved on by the driver. */
  readonly line: LinePosition;
  /** The stream has ended: the beginning of a line is all that will come of it. */
  readonly ended: boolean;
}

/**
 * Where a driver stands. For files: the inode number and the size. A driver that has no file counts what it has sent in
 * `offset`.
 */
export interface LogPlace {
  readonly file: bigint;
  readonly offset: bigint;
}

/**
 * Keeps a container's output. The shim may be killed at any instruction, so a driver must be deterministic: the same piece
 * makes the same records, whenever it is given. Before each piece the shim notes the piece and the driver's place in its
 * ledger; a shim that takes over gives the piece again, with that place.
 */
export interface LogDriver extends Disposable {
  /** Where the next piece will go. */
  readonly place: LogPlace;
  /**
   * Logs whole lines, and pieces of lines that are longer than 16 KiB; with `ended` all there is. Returns how many bytes it
   * took: what is left is given again, with more behind it; less than whole lines only when it could not take more now. Throws when they cannot be kept now (ENOSPC): the same piece is
   * then given again by `writeAgain`, so part of it may be there already.
   */
  write(piece: LogPiece): number;
  /** A piece that was being written, or was written, at `place`: adds what is not there yet. Returns as `write` does. */
  writeAgain(piece: LogPiece, place: LogPlace): number;
}

/** How many bytes of a stream may be waiting for the end of their line. */
export const longestLineBytes = 16 * 1024;
