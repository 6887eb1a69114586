/** A volume as it is kept. */
export interface VolumeRecord {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  readonly createdAtUnixNano: bigint;
  /** Whether it was filled from an image, or is past that. */
  readonly filled: boolean;
}
