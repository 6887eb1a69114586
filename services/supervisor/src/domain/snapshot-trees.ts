import type { ImageConfig } from './container-config.ts';

export type FileChangeKind =
  | 'FILE_CHANGE_KIND_UNSPECIFIED'
  | 'FILE_CHANGE_KIND_MODIFIED'
  | 'FILE_CHANGE_KIND_ADDED'
  | 'FILE_CHANGE_KIND_DELETED'
  | 'UNRECOGNIZED';

/** How a path differs from the image: flotilla.v1.FileChange. */
export interface FileChange {
  path: string;
  kind: FileChangeKind;
}

export interface SnapshotCommit {
  readonly containerId: string;
  /** Empty for none. */
  readonly reference: string;
  readonly config: ImageConfig;
  readonly author: string;
  readonly comment: string;
  readonly createdBy: string;
}

/**
 * Files of containers as a whole, at the image service. Paths at which the engine mounts are no change where there is
 * nothing else.
 */
export interface SnapshotTrees {
  /** In pieces. */
  changes(containerId: string, signal: AbortSignal): AsyncIterable<readonly FileChange[]>;
  /** A tar in pieces. */
  export(containerId: string, signal: AbortSignal): AsyncIterable<Buffer>;
  /** Answers the image's id; calls back once the files have been read. */
  commit(request: SnapshotCommit, onCaptured: () => void, signal: AbortSignal): Promise<string>;
}

/** What Docker makes in a layer below a container's own, so that it is no change: what is mounted in every container. */
export const engineMountPoints: readonly string[] = [
  ...['/dev', '/dev/console', '/dev/mqueue', '/dev/pts', '/dev/shm', '/proc', '/sys', '/sys/fs/cgroup'],
  ...['/etc/hostname', '/etc/hosts', '/etc/resolv.conf'],
];
