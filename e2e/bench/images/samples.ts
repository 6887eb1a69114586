import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../../harness/run-program.ts';
import { debianImage, dockerReference } from '../../images/debian.ts';

/** An image to measure with. */
export interface Sample {
  /** A docker-archive. */
  readonly archive: string;
  /** The name that it has there. */
  readonly reference: string;
}

type Make = (folder: string) => Promise<Sample>;

/** By the names that the command line takes. */
export const samples: Readonly<Record<string, Make>> = {
  debian: async () => ({ archive: (await debianImage()).dockerArchive, reference: dockerReference }),
  layers: (folder) => made(folder, 10, (root, layer) => writeFiles(root, `layer-${layer}`, 200, 50_000)),
  large: (folder) => made(folder, 1, (root) => writeLarge(join(root, 'large'), 2 << 10)),
  small: (folder) => made(folder, 1, (root) => writeFiles(root, 'small', 100_000, 300)),
};

/** A docker-archive of so many layers, each a tar of what `fill` puts into a folder. */
async function made(folder: string, layers: number, fill: (root: string, layer: number) => void): Promise<Sample> {
  const parts = join(folder, 'parts');
  mkdirSync(parts, { recursive: true });
  const digests: string[] = [];
  const names: string[] = [];
  for (let layer = 0; layer < layers; layer += 1) {
    const root = join(folder, 'root');
    const name = `${layer}.tar`;
    mkdirSync(root);
    fill(root, layer);
    await mustRun('tar', ['-C', root, '-cf', join(parts, name), '.'], { timeoutMs: 300_000 });
    rmSync(root, { recursive: true });
    digests.push(`sha256:${await sha256(join(parts, name))}`);
    names.push(name);
  }
  const reference = 'flotilla-bench/sample:latest';
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = { architecture, os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: digests } };
  writeFileSync(join(parts, 'config.json'), JSON.stringify(config));
  const manifest = [{ Config: 'config.json', RepoTags: [reference], Layers: names }];
  writeFileSync(join(parts, 'manifest.json'), JSON.stringify(manifest));
  const archive = join(folder, 'sample.tar');
  await mustRun('tar', ['-C', parts, '-cf', archive, 'config.json', ...names, 'manifest.json'], { timeoutMs: 300_000 });
  rmSync(parts, { recursive: true });
  return { archive, reference };
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** A thousand in each folder. */
function writeFiles(root: string, name: string, count: number, bytes: number): void {
  for (let at = 0; at < count; at += 1) {
    const folder = join(root, name, String(Math.floor(at / 1000)));
    if (at % 1000 === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, String(at)), Buffer.concat([randomBytes(bytes / 2), Buffer.alloc(bytes / 2)]));
  }
}

/** A quarter of each page is noise, so that it compresses about as a program does. */
function writeLarge(path: string, mebibytes: number): void {
  const piece = Buffer.alloc(64 << 20);
  for (let at = 0; at < piece.length; at += 4096) randomBytes(1024).copy(piece, at);
  for (let done = 0; done < mebibytes; done += 64) writeFileSync(path, piece, { flag: 'a' });
}
