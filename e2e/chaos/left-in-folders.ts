import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../harness/engine.ts';
import { waitFor } from '../harness/wait.ts';

/** What is still in the engine's folders of containers that are all gone, half a minute after the last was removed. */
export async function leftInFolders({ folders }: Engine): Promise<readonly string[]> {
  const left = () =>
    [join(folders.root, 'containers'), join(folders.run, 'shims')].flatMap((folder) =>
      readdirSync(folder).map((name) => `${join(folder, name)} is left behind`),
    );
  await waitFor('the folders are empty', () => left().length === 0, 30_000).catch(() => {});
  return left();
}
