/** How much a layer may unpack to. */
export interface UnpackLimits {
  /** Entries of the archive. */
  readonly maxEntries: number;
  /** Unpacked bytes. */
  readonly maxBytes: number;
  /** Unpacked to compressed size, once more than `ratioFreeBytes` are unpacked. */
  readonly maxRatio: number;
  readonly ratioFreeBytes: number;
}

export const defaultUnpackLimits: UnpackLimits = {
  maxEntries: 10_000_000,
  maxBytes: 256 * 2 ** 30,
  maxRatio: 2_000,
  ratioFreeBytes: 64 << 20,
};
