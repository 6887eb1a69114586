import { applyChanges } from '@flotilla/oci';
import { ImageConfig } from '@flotilla/proto/flotilla/v1/image';

/** Reads `--change` flags: Dockerfile instructions that say what an image's containers inherit. */
export function parseChanges(texts: readonly string[]): ImageConfig {
  return applyChanges(ImageConfig.create(), texts, '--change');
}
