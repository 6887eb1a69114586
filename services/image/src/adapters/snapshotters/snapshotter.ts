/** What a root may be kept with. */
export const snapshotterNames = ['overlayfs', 'native', 'btrfs'] as const;
export type SnapshotterName = (typeof snapshotterNames)[number];

/** A mount as mount(2) takes it. */
export interface MountDescription {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/**
 * How layers and writable snapshots lie on disk. The stores own the folders: they make them beside, rename them into place when
 * all is there, and remember them. In each, `fs` is a root.
 */
export interface Snapshotter {
  readonly name: SnapshotterName;
  /**
   * Whether a folder's `fs` has only what that layer changed, in overlayfs's form; else it is the whole root up to that layer.
   */
  readonly stacked: boolean;
  /**
   * Makes the folder of a layer. The result is the empty folder to unpack it in. `parent` is the `fs` of the layer below.
   */
  beginLayer(folder: string, parent: string | undefined, signal?: AbortSignal): Promise<string>;
  /** What was unpacked becomes the layer's `fs`. */
  finishLayer(folder: string, signal?: AbortSignal): Promise<void>;
  /** Makes the folder of a writable snapshot. `layers` are the `fs` of its layers, uppermost first. */
  makeSnapshot(folder: string, layers: readonly string[], signal?: AbortSignal): Promise<void> | void;
  /** How to mount one. */
  mounts(folder: string, layers: readonly string[]): MountDescription[];
  /** Removes a folder of a layer or snapshot, also one that was cut off in the making. Follows no link. */
  remove(folder: string): Promise<void>;
}
