/** A volume as it is kept. */
export interface VolumeRecord {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Of the local driver: see {@link parseVolumeOptions}. */
  readonly options: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  readonly createdAtUnixNano: bigint;
}

/** A volume that a container wants. */
export interface VolumeWish {
  /** Empty for an anonymous one. */
  readonly name: string;
  readonly target: string;
  readonly noCopy: boolean;
  /** Of a volume that is made. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Another container has it: it must be there. */
  readonly inherited: boolean;
}

/** A volume in a container that is about to run: what its events tell. */
export interface VolumeMount {
  readonly name: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation: string;
}
