import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cacheFolder } from '../harness/cache-folder.ts';
import { mustRun } from '../harness/run-program.ts';

/** A kernel and its modules, unpacked and not installed. */
export interface Kernel {
  readonly image: string;
  readonly modules: string;
}

const metaPackage = 'linux-image-cloud-amd64';

/** Fetches the distribution's cloud kernel at first use. */
export async function fetchKernel(): Promise<Kernel> {
  const folder = join(cacheFolder, 'kernel');
  if (!existsSync(folder)) {
    const building = `${folder}.building`;
    rmSync(building, { recursive: true, force: true });
    mkdirSync(building, { recursive: true });
    const depends = await mustRun('apt-cache', ['depends', '--important', metaPackage]);
    const name = depends.match(/Depends: (linux-image-\S+)/)?.[1];
    if (name === undefined) throw new Error(`apt knows no kernel behind ${metaPackage}: run apt-get update`);
    await mustRun('apt-get', ['download', name], { cwd: building, timeoutMs: 120_000 });
    await mustRun('dpkg', ['-x', basename(only(`${building}/*.deb`)), 'tree'], { cwd: building });
    rmSync(only(`${building}/*.deb`));
    renameSync(building, folder);
  }
  return { image: only(`${folder}/tree/boot/vmlinuz-*`), modules: only(`${folder}/tree/{usr/,}lib/modules/*`) };
}

function only(glob: string): string {
  const [found] = globSync(glob);
  if (found === undefined) throw new Error(`nothing matches ${glob}`);
  return found;
}

/** Paths of modules and of all that they need, in the order in which they can be loaded. */
export function moduleFiles(kernel: Kernel, names: readonly string[]): readonly string[] {
  const normal = (name: string) => name.replaceAll('-', '_');
  const files = new Map(
    globSync(`${kernel.modules}/kernel/**/*.ko`).map((path) => [normal(basename(path, '.ko')), path] as const),
  );
  const ordered = new Set<string>();
  const add = (name: string): void => {
    const path = files.get(normal(name));
    if (path === undefined || ordered.has(path)) return; // built in, or there already
    for (const needed of dependencies(path)) add(needed);
    ordered.add(path);
  };
  for (const name of names) add(name);
  return [...ordered];
}

/** The `depends=` entry of a module's .modinfo section. */
function dependencies(path: string): readonly string[] {
  const text = readFileSync(path).toString('latin1');
  const list = text.match(/\0depends=([^\0]*)\0/)?.[1] ?? '';
  return list.split(',').filter((name) => name !== '');
}
