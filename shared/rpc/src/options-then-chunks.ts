import { FlotillaError, invalidField } from '@flotilla/errors';

interface Part<Options> {
  readonly part?:
    | { readonly $case: 'options'; readonly value: Options }
    | { readonly $case: 'chunk'; readonly value: Uint8Array }
    | undefined;
}

/** A stream of a caller's whose first message says what is wanted, and whose others bring the bytes. INVALID_FIELD. */
export async function optionsThenChunks<Options>(
  requests: AsyncIterable<Part<Options>>,
): Promise<{ readonly options: Options; readonly chunks: AsyncGenerator<Uint8Array> }> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.part?.$case !== 'options') {
    throw new FlotillaError('invalid_argument', 'the first message must be the options', {
      reason: 'INVALID_FIELD',
      metadata: { field: 'options' },
    });
  }
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const { part } of { [Symbol.asyncIterator]: () => iterator }) {
      if (part?.$case !== 'chunk') throw invalidField('part', 'a chunk, after the first message');
      yield part.value;
    }
  }
  return { options: first.value.part.value, chunks: chunks() };
}
