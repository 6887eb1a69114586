import { createHash } from 'node:crypto';
import type { Random } from '../chaos/random.ts';
import { type TarEntry, tar } from '../images/tar-writer.ts';

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

/** What stands at a path: `file 644 <sha256>`, `folder 755`, `symlink <target>`. */
export type Tree = ReadonlyMap<string, string>;

export interface SampleImage {
  /** `sha256:…` of the config. */
  readonly imageId: string;
  readonly archive: (reference: string) => Buffer;
  /** What its root must be. */
  readonly tree: Tree;
}

interface Layer {
  readonly entries: readonly TarEntry[];
  readonly bytes: Buffer;
}

/** Layers that images share: files that do not compress, links, and whiteouts of what others have. */
export function makeLayers(random: Random, count: number): Layer[] {
  return Array.from({ length: count }, (_, number) => {
    const folder = `layer-${number}`;
    const files = Array.from({ length: random.integer(3, 12) }, (_, index) => ({
      name: `${folder}/file-${index}`,
      content: bytesOf(random, random.integer(0, 1 << 18)),
      mode: random.pick([0o600, 0o644, 0o755, 0o4711]),
    }));
    const entries: TarEntry[] = [
      { name: `${folder}/`, type: 'folder', mode: 0o755 },
      ...files,
      { name: `${folder}/link`, type: 'symlink', target: 'file-0' },
      { name: `${folder}/same`, type: 'hardlink', target: `${folder}/file-1`, mode: files[1]?.mode ?? 0 },
      { name: 'common', content: `of ${number}`, mode: 0o640 },
      ...(number === 0 ? [] : [{ name: `layer-${number - 1}/.wh.file-2` }]),
    ];
    return { entries, bytes: tar(entries) };
  });
}

function bytesOf(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length + 4);
  for (let at = 0; at < length; at += 4) bytes.writeUInt32LE(Math.floor(random.next() * 2 ** 32), at);
  return bytes.subarray(0, length);
}

/** An image of some of the layers, lowest first, with labels that make it another one than all others. */
export function makeImage(layers: readonly Layer[], labels: Readonly<Record<string, string>>): SampleImage {
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Labels: labels },
      rootfs: { type: 'layers', diff_ids: layers.map(({ bytes }) => `sha256:${sha256(bytes)}`) },
    }),
  );
  const names = layers.map((_, index) => `${index}.tar`);
  return {
    imageId: `sha256:${sha256(config)}`,
    tree: treeOf(layers.map(({ entries }) => entries)),
    archive: (reference) =>
      tar([
        { name: 'config.json', content: config },
        ...layers.map(({ bytes }, index) => ({ name: names[index] ?? '', content: bytes })),
        {
          name: 'manifest.json',
          content: JSON.stringify([{ Config: 'config.json', RepoTags: [reference], Layers: names }]),
        },
      ]),
  };
}

/** Layers over one another (OCI image-spec, layer.md). */
function treeOf(layers: readonly (readonly TarEntry[])[]): Tree {
  const tree = new Map<string, string>();
  for (const entries of layers) {
    for (const { name } of entries) {
      const hidden = /^(.*\/)\.wh\.(.*)$/.exec(name);
      if (hidden !== null) tree.delete(`${hidden[1]}${hidden[2]}`);
    }
    for (const { name, type = 'file', mode = 0o644, content = '', target = '' } of entries) {
      if (name.includes('.wh.')) {
        // A whiteout of something in a folder that no layer has: the folder is made all the same.
        const folder = name.slice(0, name.lastIndexOf('/'));
        if (!tree.has(folder)) tree.set(folder, 'folder 755');
      } else if (type === 'folder') tree.set(name.replace(/\/$/, ''), `folder ${mode.toString(8)}`);
      else if (type === 'symlink') tree.set(name, `symlink ${target}`);
      else if (type === 'hardlink') tree.set(name, tree.get(target) ?? '');
      else tree.set(name, `file ${mode.toString(8)} ${sha256(Buffer.from(content))}`);
    }
  }
  return tree;
}
