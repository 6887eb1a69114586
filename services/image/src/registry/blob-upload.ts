import { hasReason } from '@flotilla/errors';
import type { Descriptor } from '@flotilla/oci/image';
import type { RegistryWriter, UploadPlace } from './registry-writer.ts';
import type { BodySource } from './transport.ts';

/** What became of a blob in a registry. */
export type UploadOutcome = 'exists' | 'mounted' | 'done';

export interface BlobUpload {
  readonly writer: RegistryWriter;
  readonly descriptor: Descriptor;
  /** Its bytes, from one on. */
  readonly open: (offset: number) => AsyncIterable<Uint8Array>;
  /** A repository of the same registry that has it. */
  readonly from: string | undefined;
  readonly onProgress: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Small ones need no more than two requests. */
const smallBytes = 64 << 10;
/** So much more than at the last failure counts as going on. */
const enoughBytes = 64 << 10;

/**
 * Brings a blob into a repository unless it is there. After a failure it goes on where the registry says that it has come; one
 * that has kept nothing gets all of it again. Errors as of RegistryWriter, and what `open` throws.
 */
export async function uploadBlob(upload: BlobUpload): Promise<UploadOutcome> {
  const { writer, descriptor, signal } = upload;
  const patience = writer.patience();
  let place: UploadPlace | undefined;
  let [began, safeBytes] = [false, 0];
  try {
    for (;;) {
      try {
        if (place !== undefined) {
          const broken = place;
          place = await writer.resumeUpload(broken, descriptor, signal);
          if (place === undefined) writer.cancelUpload(broken);
          const { offset = 0 } = place ?? {};
          if (offset - safeBytes > enoughBytes) patience.reset();
          safeBytes = Math.max(safeBytes, offset);
        }
        if (place === undefined) {
          // Also after an end of which no answer came.
          if (await writer.hasBlob(descriptor, signal)) return began ? 'done' : 'exists';
          place = await begin(upload);
          if (place === undefined) return 'mounted';
          began = true;
        }
        const isSmall = place.offset === 0 && descriptor.size <= smallBytes;
        // Each answer says where what comes next goes: a registry may keep its state in that.
        if (!isSmall && place.offset < descriptor.size)
          place = await writer.sendRest(place, descriptor.digest, restOf(upload, place), signal);
        await writer.finishUpload(place, descriptor.digest, isSmall ? restOf(upload, place) : undefined, signal);
        return 'done';
      } catch (error) {
        await patience.pause(error, signal);
      }
    }
  } catch (error) {
    if (place !== undefined) writer.cancelUpload(place);
    throw error;
  }
}

/** Undefined when the registry has taken it from where we know that it is. If it would not, it is sent. */
async function begin({ writer, descriptor, from, signal }: BlobUpload): Promise<UploadPlace | undefined> {
  if (from !== undefined) {
    try {
      return await writer.startUpload(descriptor.digest, from, signal);
    } catch (error) {
      if (!unwilling.some((reason) => hasReason(error, reason))) throw error;
    }
  }
  return await writer.startUpload(descriptor.digest, undefined, signal);
}

const unwilling = ['REGISTRY_REFUSED', 'REGISTRY_DENIED', 'REGISTRY_UNAUTHORIZED'];

function restOf({ descriptor, open, onProgress }: BlobUpload, { offset }: UploadPlace): BodySource {
  return { sizeBytes: descriptor.size - offset, open: () => counted(open(offset), offset, onProgress) };
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  offset: number,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = offset;
  onProgress(bytes);
  for await (const chunk of chunks) {
    yield chunk;
    bytes += chunk.length;
    onProgress(bytes);
  }
}
