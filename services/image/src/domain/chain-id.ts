import { sha256Digest } from '@flotilla/oci';

/** Chain ids of a stack of layers (OCI image-spec, config.md, Layer ChainID), lowest first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256Digest(`${below} ${diffId}`));
  }
  return chain;
}
