import { createHash } from 'node:crypto';

const blockBytes = 512;

/** Blobs of a saved archive (POSIX ustar) that are not what their names say; an archive without any is wrong as well. */
export async function wrongInArchive(answers: AsyncIterable<Readonly<Record<string, unknown>>>): Promise<string[]> {
  const chunks: Buffer[] = [];
  for await (const { chunk } of answers) if (chunk instanceof Uint8Array) chunks.push(Buffer.from(chunk));
  const archive = Buffer.concat(chunks);
  const wrong: string[] = [];
  let blobs = 0;
  for (let at = 0; at + blockBytes <= archive.length && archive[at] !== 0; ) {
    const name = archive.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 136), 8);
    const data = archive.subarray(at + blockBytes, at + blockBytes + size);
    const digest = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
    if (digest !== undefined) {
      blobs++;
      if (createHash('sha256').update(data).digest('hex') !== digest) wrong.push(`${name} is something else`);
    }
    at += blockBytes * (1 + Math.ceil(size / blockBytes));
  }
  return blobs === 0 ? [`an archive of ${archive.length} bytes without a blob`] : wrong;
}
