import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';

/** Where an archive goes. */
export interface ArchiveOutput extends AsyncDisposable {
  /** Takes a piece; pieces that begin anew, after the engine was lost, go on where the others ended. */
  write(chunk: Uint8Array): Promise<void>;
  /** The pieces begin from the archive's first byte again. */
  startAgain(): void;
  /** All has come. */
  finish(): Promise<void>;
}

/**
 * A file, or standard output for undefined and `-`, which must not be a terminal. A file gets its name once it is whole, and replaces what had it;
 * a device or a pipe is written to as it is.
 */
export async function openArchiveOutput(path: string | undefined): Promise<ArchiveOutput> {
  if (path === undefined || path === '-') {
    if (process.stdout.isTTY === true) {
      throw invalidField('--output', 'a file, or standard output that is no terminal: an archive is not for reading');
    }
    const write = async (chunk: Uint8Array) => {
      if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
    };
    return archiveOutput({ write, finish: async () => {}, close: async () => {} });
  }
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory() === true) throw invalidField('--output', 'a file', path);
  const inPlace = there !== undefined && !there.isFile();
  const target = inPlace ? path : join(dirname(path), `.${basename(path)}.${process.pid}`);
  const file = await openFile(target, inPlace ? 'w' : 'wx', path);
  return fileOutput({ file, path, target });
}

async function openFile(target: string, flags: string, path: string): Promise<FileHandle> {
  try {
    return await open(target, flags, 0o600);
  } catch (cause) {
    throw new FlotillaError('failed_precondition', `archive ${path} cannot be written: ${(cause as Error).message}`, {
      reason: 'FILE_NOT_WRITABLE',
      metadata: { path },
      cause,
    });
  }
}

function fileOutput({
  file,
  path,
  target,
}: {
  readonly file: FileHandle;
  readonly path: string;
  readonly target: string;
}): ArchiveOutput {
  let whole = target === path;
  // Who is told to end leaves no half of an archive behind.
  const onSignal = () => {
    void (whole ? Promise.resolve() : rm(target, { force: true })).finally(() => process.exit(130));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal);
  return archiveOutput({
    write: async (chunk) => void (await file.writeFile(chunk)),
    finish: async () => {
      if (target === path) return;
      await file.sync();
      await rename(target, path);
      whole = true;
    },
    close: async () => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal);
      await file.close();
      if (!whole) await rm(target, { force: true });
    },
  });
}

interface Sink {
  readonly write: (chunk: Uint8Array) => Promise<void>;
  readonly finish: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The same images give the same bytes: what was written already is passed over, once it is seen to be the same. */
function archiveOutput({ write, finish, close }: Sink): ArchiveOutput {
  let [written, position] = [0, 0];
  const hashOfWritten = createHash('sha256');
  let hashOfAgain = createHash('sha256');
  const isSame = () => hashOfWritten.copy().digest('hex') === hashOfAgain.copy().digest('hex');
  return {
    async write(chunk) {
      const known = chunk.subarray(0, Math.max(Math.min(written - position, chunk.length), 0));
      const fresh = chunk.subarray(known.length);
      if (known.length > 0) hashOfAgain.update(known);
      if (known.length > 0 && position + known.length === written && !isSame()) {
        throw changed();
      }
      position += chunk.length;
      if (fresh.length === 0) return;
      hashOfWritten.update(fresh);
      await write(fresh);
      written += fresh.length;
    },
    startAgain() {
      position = 0;
      hashOfAgain = createHash('sha256');
    },
    async finish() {
      // The archive that was begun again has ended before the place where the first one broke off.
      if (position < written) throw changed();
      await finish();
    },
    [Symbol.asyncDispose]: close,
  };
}

function changed(): FlotillaError {
  return new FlotillaError('aborted', 'the images were changed while they were saved: save them again', {
    reason: 'IMAGE_CHANGED',
  });
}
