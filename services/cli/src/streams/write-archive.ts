import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, rename, rm, stat } from 'node:fs/promises';
import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';

/**
 * Writes a tar to a file, or to standard output for undefined and `-`. A file is there as a whole or not at all. INVALID_FIELD
 * for a terminal, and for a folder.
 */
export async function writeArchive(
  path: string | undefined,
  chunks: () => AsyncIterable<{ readonly chunk: Uint8Array }>,
): Promise<void> {
  if (path !== undefined && path !== '-') return writeFile(path, chunks);
  if (process.stdout.isTTY === true) throw invalidField('--output', 'given, or standard output sent to a file or pipe');
  for await (const { chunk } of chunks()) if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
}

async function writeFile(path: string, chunks: () => AsyncIterable<{ readonly chunk: Uint8Array }>): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory() === true) throw invalidField('--output', 'a file', path);
  // A device or a pipe is written to as it is.
  const beside = there === undefined || there.isFile() ? `${path}.${randomBytes(6).toString('hex')}.part` : path;
  try {
    await using file = await openFor(beside, beside === path ? 'w' : 'wx');
    for await (const { chunk } of chunks()) {
      for (let done = 0; done < chunk.length; ) done += (await file.write(chunk, done)).bytesWritten;
    }
  } catch (error) {
    if (beside !== path) await rm(beside, { force: true });
    throw error;
  }
  if (beside !== path) await rename(beside, path);
}

async function openFor(path: string, flags: string) {
  try {
    return await open(path, flags, 0o600);
  } catch (cause) {
    throw new FlotillaError('failed_precondition', `${path} cannot be written: ${(cause as Error).message}`, {
      reason: 'FILE_NOT_WRITABLE',
      metadata: { path },
      cause,
    });
  }
}
