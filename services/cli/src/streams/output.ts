import { once } from 'node:events';
import process from 'node:process';
import type { OutputChunk } from '@flotilla/proto/flotilla/v1/stream';

/** A piece of output and the stream it belongs to. */
export type OutputPiece = Pick<OutputChunk, 'stream' | 'data'>;

/** Writes a piece where it belongs; waits while whoever reads it is slow. */
export async function writeOutput({ stream, data }: OutputPiece): Promise<void> {
  const target = stream === 'OUTPUT_STREAM_STDERR' ? process.stderr : process.stdout;
  if (!target.write(data)) await once(target, 'drain');
}
