import type { RootManifest } from './describe-root.ts';
import type { ImageDigests } from './layout-writer.ts';

/** What a tool says of an image that it has; what it does not say is left out. */
export interface PulledImage {
  readonly digests: Partial<ImageDigests>;
  readonly root: RootManifest;
  /** Folders that a layer implies but does not name have the time of their unpacking. */
  readonly makesImpliedFolders?: boolean;
}

/** Whoever takes images from registries. */
export interface Puller {
  readonly name: string;
  /** Fetches an image, gives all there is to say of it, and forgets it again unless it is to be kept. */
  pull(reference: string, keep?: boolean): Promise<PulledImage>;
}
