import { invalidField } from '@flotilla/errors';
import { canonicalReference, familiarReference, parseReference } from '@flotilla/oci';
import type { Platform } from '@flotilla/oci/image';
import {
  GetImageHistoryResponse,
  type ImageConfig,
  ImageServiceService,
  ImportImageResponse,
  LoadImagesResponse,
  PullImageResponse,
  PushImageResponse,
  RegistryAuth,
} from '@flotilla/proto/flotilla/v1/image';
import { type Implementation, implement, optionsThenChunks } from '@flotilla/rpc';
import type { ContentStore } from '../adapters/content-store.ts';
import type { ImageLoader } from '../adapters/image-loader.ts';
import type { ImageRemover } from '../adapters/image-remover.ts';
import type { SnapshotStore } from '../adapters/snapshot-store.ts';
import type { ImageSaver } from '../archive/image-saver.ts';
import { platformNotFound } from '../domain/errors.ts';
import { type ImageRecord, parseTime } from '../domain/image.ts';
import { formatPlatform, parsePlatform, platformOf, runsOn } from '../domain/platform.ts';
import type { ImagePuller } from '../registry/image-puller.ts';
import type { ImagePusher } from '../registry/image-pusher.ts';
import type { ImageStore } from '../store/image-store.ts';
import { matchesLabels, matchesReference } from './image-filter.ts';
import { pruneImages } from './prune.ts';
import { configFromProto, imageToProto } from './to-proto.ts';
import { streamTransfer } from './transfer.ts';

export interface ImageServiceDependencies {
  readonly images: ImageStore;
  readonly content: ContentStore;
  readonly loader: ImageLoader;
  readonly puller: ImagePuller;
  readonly pusher: ImagePusher;
  readonly saver: ImageSaver;
  readonly remover: ImageRemover;
  readonly snapshots: SnapshotStore;
  /** GOARCH of this host. */
  readonly architecture: string;
}

/** flotilla.v1.ImageService. */
export function imageService(has: ImageServiceDependencies): Implementation {
  const { images, content, loader, puller, pusher, saver, remover } = has;
  const host = { os: 'linux', architecture: has.architecture };
  const toProto = (image: ImageRecord) => imageToProto(image, images.referencesOf(image.imageId));
  return implement(ImageServiceService, {
    async *pullImage({ reference, platform, auth }, { signal }) {
      const credentials = RegistryAuth.fromPartial(auth ?? {});
      const pulled = streamTransfer((onProgress) =>
        puller.pull({ reference, platform, credentials, onProgress, signal }),
      );
      for await (const event of pulled) {
        if ('progress' in event)
          yield PullImageResponse.create({ event: { $case: 'progress', value: event.progress } });
        else yield { event: { $case: 'image', value: toProto(event.result.image) }, digest: event.result.digest };
      }
    },
    async *pushImage({ reference, auth }, { signal }) {
      const credentials = RegistryAuth.fromPartial(auth ?? {});
      const pushed = streamTransfer((onProgress) => pusher.push({ reference, credentials, onProgress, signal }));
      for await (const event of pushed) {
        if ('progress' in event)
          yield PushImageResponse.create({ event: { $case: 'progress', value: event.progress } });
        else {
          const { digest, sizeBytes } = event.result;
          yield { event: { $case: 'manifestDigest', value: digest }, manifestSizeBytes: BigInt(sizeBytes) };
        }
      }
    },
    async *loadImages(requests, { signal }) {
      const chunks = chunksOf(requests);
      for await (const event of streamTransfer((onProgress) => loader.load({ chunks, onProgress, signal }))) {
        if ('progress' in event)
          yield LoadImagesResponse.create({ event: { $case: 'progress', value: event.progress } });
        else
          for (const { image, references } of event.result)
            yield { event: { $case: 'image', value: toProto(image) }, references: references.map(shown) };
      }
    },
    async *saveImages({ references }, { signal }) {
      for await (const chunk of saver.save(references, signal)) yield { chunk };
    },
    async *importImage(requests, { signal }) {
      const { options, chunks } = await optionsThenChunks(requests);
      const settings = {
        reference: options.reference === '' ? undefined : canonicalReference(tagged(options.reference)),
        config: configFromProto(options.config as ImageConfig | undefined),
        message: options.message,
        architecture: importPlatform(options.platform, has.architecture),
      };
      for await (const event of streamTransfer((onProgress) =>
        loader.import({ chunks, onProgress, signal }, settings),
      )) {
        if ('progress' in event)
          yield ImportImageResponse.create({ event: { $case: 'progress', value: event.progress } });
        else yield { event: { $case: 'image', value: toProto(event.result) } };
      }
    },
    listImages: async ({ references, labels, dangling }) => {
      const found = images
        .list()
        .map((image) => ({ image, names: images.referencesOf(image.imageId) }))
        .filter(({ names }) => dangling || names.length > 0)
        .filter(
          ({ names }) => references.length === 0 || references.some((pattern) => matchesReference(names, pattern)),
        )
        .filter(({ image }) => matchesLabels(image.config.config?.Labels ?? {}, labels));
      const sorted = found
        .map(({ image, names }) => imageToProto(image, names))
        .sort((a, b) =>
          a.createdAtUnixNano < b.createdAtUnixNano ? 1 : a.createdAtUnixNano > b.createdAtUnixNano ? -1 : 0,
        );
      return { images: sorted };
    },
    getImage: async ({ image, platform }) => {
      const found = images.resolve(image).image;
      if (platform !== '') checkPlatform(image, platformOf(found.config), parsePlatform(platform, host));
      return { image: toProto(found), configJson: content.read(found.imageId) };
    },
    removeImage: async ({ image, force }) => remover.remove(image, force),
    tagImage: async ({ image, reference }) => {
      remover.tag(images.resolve(image).image, canonicalReference(tagged(reference)));
      return {};
    },
    pruneImages: async (request) => pruneImages(has, request),
    getImageHistory: async ({ image }) => historyOf(images.resolve(image).image, images),
  });
}

const shown = (reference: string) => familiarReference(parseReference(reference));

/** A name that an image can be given. INVALID_FIELD. */
export function tagged(text: string) {
  const reference = parseReference(text);
  if (reference.digest !== undefined) throw invalidField('reference', 'a name with a tag, without a digest', text);
  return reference;
}

function checkPlatform(image: string, made: Platform, wanted: Platform): void {
  if (!runsOn(made, wanted)) throw platformNotFound(formatPlatform(wanted), [formatPlatform(made)], image);
}

function importPlatform(text: string, host: string): string {
  if (text === '') return host;
  const match = /^linux\/([a-z0-9]+)$/.exec(text);
  if (match === null) throw invalidField('platform', '`linux/` and an architecture, such as `linux/amd64`', text);
  return match[1]!;
}

async function* chunksOf(requests: AsyncIterable<{ readonly chunk: Uint8Array }>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of requests) yield chunk;
}

function historyOf(image: ImageRecord, images: ImageStore): GetImageHistoryResponse {
  let layer = 0;
  const entries = (image.config.history ?? []).map((step) => ({
    createdAtUnixNano: parseTime(step.created),
    createdBy: step.created_by ?? '',
    comment: step.comment ?? '',
    sizeBytes: BigInt(step.empty_layer === true ? 0 : (image.layerSizes[layer++] ?? 0)),
    references: [] as string[],
    imageId: '',
  }));
  const last = entries.at(-1);
  if (last !== undefined) {
    last.imageId = image.imageId;
    last.references = images.referencesOf(image.imageId).map((name) => familiarReference(parseReference(name)));
  }
  return GetImageHistoryResponse.fromPartial({ entries: entries.reverse() });
}
