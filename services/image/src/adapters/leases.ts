import type { ImageRecord } from '../domain/image.ts';
import type { ContentStore } from './content-store.ts';
import type { ImageRecorder } from './image-recorder.ts';
import type { LayerStore } from './layer-store.ts';

/** What work counts on. */
export interface LeaseRequest {
  /** Digests of blobs, whether they are there yet or not. */
  readonly blobs?: readonly string[];
  /** Chain ids of unpacked layers, whether they are there yet or not. */
  readonly layers?: readonly string[];
}

/**
 * Keeps blobs and layers from collection while somebody works with them: `using _lease = leases.ofImage(image)`. A lease is in
 * memory alone: it ends with the process, as the work does. Take it before looking whether something is there, and take it
 * in the same turn of the event loop as the image was found: nothing is collected between.
 */
export class Leases {
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #recorder: ImageRecorder;

  constructor(content: ContentStore, layers: LayerStore, recorder: ImageRecorder) {
    this.#content = content;
    this.#layers = layers;
    this.#recorder = recorder;
  }

  /** Until the result is disposed; the same things may be leased many times over. */
  take({ blobs = [], layers = [] }: LeaseRequest): Disposable {
    const stack = new DisposableStack();
    stack.defer(() => this.#recorder.collectLeased()); // Last: an image that went meanwhile goes whole.
    stack.use(this.#content.pin(blobs));
    stack.use(this.#layers.pin(layers));
    return stack;
  }

  /** All that an image is made of: it can be read to its end although somebody removes it meanwhile. */
  ofImage({ blobs, chainIds }: ImageRecord): Disposable {
    return this.take({ blobs, layers: chainIds });
  }
}
