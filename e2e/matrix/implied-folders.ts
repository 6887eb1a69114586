import { join } from 'node:path';
import { mustRun } from '../harness/run-program.ts';
import type { ImageDigests } from './layout-writer.ts';

/**
 * Folders of an image that the topmost of its layers which has something below them does not name. Docker makes them anew in
 * that layer, so that they hide the lower layer's folder and its time. The root it makes for every layer, and does not give it the
 * time that the layer has for it.
 */
export async function impliedFolders(layout: string, { layers }: ImageDigests): Promise<ReadonlySet<string>> {
  const implied = new Set<string>();
  for (const digest of layers) {
    const blob = join(layout, 'blobs/sha256', digest.slice('sha256:'.length));
    const listed = (await mustRun('tar', ['-tzf', blob, '--quoting-style=literal'], { timeoutMs: 120_000 })).split(
      '\n',
    );
    const named = listed.filter((name) => name.endsWith('/')).map(plain);
    for (const name of listed.filter(Boolean)) for (const folder of parentsOf(plain(name))) implied.add(folder);
    for (const folder of named) implied.delete(folder);
  }
  return implied.add('.');
}

/** `./usr/bin/` to `usr/bin`, `./` to `.`. */
function plain(name: string): string {
  return name.replace(/^\.\//, '').replace(/\/$/, '') || '.';
}

function parentsOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return ['.', ...parts.map((_, index) => parts.slice(0, index + 1).join('/'))];
}
