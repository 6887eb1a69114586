import type { Descriptor } from '@flotilla/oci/image';
import { Backoff } from './backoff.ts';
import type { RegistryClient } from './registry-client.ts';
import { sizeMismatch } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import { connectionError } from './transport.ts';

/** So much more than at the last failure counts as going on. */
const enoughBytes = 64 << 10;

export interface BlobSource {
  readonly client: RegistryClient;
  readonly descriptor: Descriptor;
  readonly settings: RegistrySettings;
  readonly signal: AbortSignal;
}

/**
 * A blob's bytes, exactly as many as its descriptor says. After a failure it goes on from the byte where it was: by a range,
 * or, where the registry has none, by reading over what is there already. BLOB_SIZE_MISMATCH, and as RegistryClient.openBlob.
 */
export async function* streamBlob({ client, descriptor, settings, signal }: BlobSource): AsyncGenerator<Uint8Array> {
  const { digest, size } = descriptor;
  using _connections = client.retain();
  const backoff = new Backoff(settings);
  let offset = 0;
  for (let before = 0; offset < size; before = offset) {
    try {
      const [response, start] = await client.openBlob(descriptor, offset, signal);
      let position = start;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        const fresh = position >= offset ? chunk : chunk.subarray(offset - position);
        position += chunk.length;
        if (position > size) throw sizeMismatch(digest, size, `more than ${size}`);
        if (fresh.length === 0) continue;
        offset += fresh.length;
        yield fresh;
      }
      if (offset < size) throw sizeMismatch(digest, size, String(position));
    } catch (error) {
      if (offset - before > enoughBytes) backoff.reset();
      await backoff.pause(connectionError(client.host, error), signal);
    }
  }
}
