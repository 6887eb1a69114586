/** One entry of a log. */
export interface LogRecord {
  readonly stream: 'stdout' | 'stderr';
  readonly timeUnixNano: bigint;
  readonly data: Buffer;
  /** Labels, variables and tag; absent for none. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Behind it. */
  readonly next: RecordPlace;
}

/** A place between two entries of a file. */
export interface RecordPlace {
  /** Where a record begins. */
  readonly offset: number;
  /** So many entries of that record are before the place. */
  readonly taken: number;
}

export const fileStart: RecordPlace = { offset: 0, taken: 0 };

/** How the entries of a log stand in its files. */
export interface LogFormat {
  /** Entries of whole records from a place on, at most a chunk of them; empty at the end of the file. */
  readRecords(fd: number, from: RecordPlace): LogRecord[];
  /** Where the last so many entries begin, counted from the end; what is missing is to be found in older files. */
  seekTail(fd: number, sizeBytes: number, entries: number): { readonly place: RecordPlace; readonly missing: number };
  /** How long the first record is; `undefined` when it is not all there. */
  firstRecordBytes(beginning: Buffer): number | undefined;
}
