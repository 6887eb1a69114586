import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../harness/cache-folder.ts';
import { mustRun } from '../harness/run-program.ts';
import { debianImage } from '../images/debian.ts';
import { type LayerEntry, writeLayout } from './layout-writer.ts';

/** The images of the matrix; the name of each says what it is. */
export const sampleNames = ['debian', 'many-layers', 'attributes', 'two-gigabytes', 'many-files'] as const;
export type SampleName = (typeof sampleNames)[number];

const builders: Readonly<Record<SampleName, (folder: string) => Promise<unknown>>> = {
  debian: async (folder) => {
    const { ociArchive } = await debianImage();
    await mustRun('skopeo', ['copy', '-q', '--insecure-policy', `oci-archive:${ociArchive}`, `oci:${folder}:image`]);
  },
  'many-layers': (folder) => writeLayout(folder, manyLayers(60)),
  attributes: (folder) => writeLayout(folder, attributes()),
  'two-gigabytes': (folder) => writeLayout(folder, [twoGigabytes()], 0),
  'many-files': (folder) => writeLayout(folder, [manyFiles(100_000)], 1),
};

/** An OCI layout with the image `image`, from the cache where it was made before. */
export async function sampleLayout(name: SampleName): Promise<string> {
  const folder = join(cacheFolder, 'matrix-2', name);
  if (existsSync(folder)) return folder;
  const building = `${folder}.building`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { recursive: true });
  await builders[name](building);
  renameSync(building, folder);
  return folder;
}

const folderOf = (name: string, more: Partial<LayerEntry> = {}): LayerEntry => ({ name, type: 'directory', ...more });
const file = (name: string, content: string, more: Partial<LayerEntry> = {}): LayerEntry => ({
  name,
  content,
  ...more,
});
const hardLink = (name: string, linkname: string, more: Partial<LayerEntry> = {}): LayerEntry => ({
  name,
  linkname,
  type: 'link',
  ...more,
});
const symlink = (name: string, linkname: string): LayerEntry => ({ name, linkname, type: 'symlink', mode: 0o777 });
const whiteout = (name: string): LayerEntry => {
  const at = name.lastIndexOf('/') + 1;
  return file(`${name.slice(0, at)}.wh.${name.slice(at)}`, '', { mode: 0 });
};
const opaque = (folder: string): LayerEntry => whiteout(`${folder}/.wh..opq`);

/**
 * Layers that hide and replace what lower ones have, in all the ways in which Docker and umoci write that, and hard links whose
 * names come and go in several.
 */
export function manyLayers(count: number): LayerEntry[][] {
  const base: LayerEntry[] = [
    folderOf('./'),
    folderOf('data/'),
    ...['kept', 'gone', 'replaced', 'emptied', 'to-file', 'to-link'].flatMap((name) => [
      folderOf(`data/${name}/`, { mode: 0o750, uid: 3, gid: 4 }),
      file(`data/${name}/one`, `one of ${name}\n`),
      folderOf(`data/${name}/below/`),
      file(`data/${name}/below/two`, `two of ${name}\n`, { mode: 0o600 }),
    ]),
    file('data/to-folder', 'a file first\n'),
    symlink('data/link-to-file', 'kept/one'),
    folderOf('links/'),
    file('links/a', 'several names\n', { mode: 0o640, uid: 7 }),
    hardLink('links/b', 'links/a', { mode: 0o640, uid: 7 }),
    hardLink('links/c', 'links/a', { mode: 0o640, uid: 7 }),
    folderOf('steps/'),
  ];
  const changes: LayerEntry[][] = [
    [folderOf('data/'), whiteout('data/gone'), folderOf('data/kept/'), whiteout('data/kept/one')],
    [folderOf('data/'), folderOf('data/replaced/'), opaque('data/replaced'), file('data/replaced/new', 'new\n')],
    [folderOf('data/'), folderOf('data/emptied/', { mode: 0o700 }), opaque('data/emptied')],
    [folderOf('data/'), file('data/to-file', 'was a folder\n'), symlink('data/to-link', 'kept')],
    [folderOf('data/'), folderOf('data/to-folder/'), file('data/to-folder/in', 'was a file\n')],
    [folderOf('data/'), file('data/link-to-file', 'was a symbolic link\n')],
    [folderOf('data/'), folderOf('data/gone/'), file('data/gone/back', 'here again\n')],
    // A name more for a file of a lower layer: the layer has the file again, under both.
    [
      folderOf('links/'),
      file('links/a', 'several names\n', { mode: 0o640, uid: 7 }),
      hardLink('links/d', 'links/a', { mode: 0o640, uid: 7 }),
    ],
    [folderOf('links/'), whiteout('links/a')],
    [folderOf('links/'), file('links/c', 'no longer the same\n')],
    // The marker after what it must not hide.
    [folderOf('data/'), folderOf('data/kept/'), file('data/kept/late', 'late\n'), opaque('data/kept')],
    [folderOf('data/'), folderOf('data/to-folder/'), whiteout('data/to-folder/in'), whiteout('data/to-folder/never')],
  ];
  return Array.from({ length: count }, (_, number) => {
    if (number === 0) return base;
    return [
      ...(changes[number - 1] ?? []),
      folderOf('steps/'),
      folderOf(`steps/${number}/`),
      file(`steps/${number}/own`, `of layer ${number}\n`),
      hardLink(`steps/${number}/linked`, `steps/${number}/own`),
      file('steps/shared', `last of ${number}\n`, { mode: number % 2 === 0 ? 0o644 : 0o755 }),
      ...(number > 2 && number % 3 > 0 ? [whiteout(`steps/${number - 2}`)] : []),
    ];
  });
}

/** CAP_NET_RAW and CAP_NET_BIND_SERVICE, permitted and effective: vfs_cap_data, revision 2, of linux/capability.h. */
const capability = '\x01\x00\x00\x02\x00\x24\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00';

/** Everything that a file may be beside its content, and changes of that alone in a second layer. */
export function attributes(): LayerEntry[][] {
  const long = `${'long-name-'.repeat(20)}end`;
  return [
    [
      folderOf('./', { nanoseconds: 5 }),
      folderOf('bin/'),
      file('bin/ping', 'has a capability\n', { mode: 0o755, xattrs: { 'security.capability': capability } }),
      hardLink('bin/ping6', 'bin/ping', { mode: 0o755, xattrs: { 'security.capability': capability } }),
      file('bin/plain', 'gets one\n', { mode: 0o755 }),
      file('bin/loses', 'loses one\n', { mode: 0o755, xattrs: { 'security.capability': capability } }),
      file('bin/su', 'set user id\n', { mode: 0o4755 }),
      file('bin/wall', 'set group id\n', { mode: 0o2755, gid: 5 }),
      folderOf('tmp/', { mode: 0o1777 }),
      folderOf('dev/', { nanoseconds: 999_999_999 }),
      { name: 'dev/null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
      { name: 'dev/sda1', type: 'block-device', devmajor: 8, devminor: 1, mode: 0o660, gid: 6 },
      { name: 'dev/pipe', type: 'fifo', mode: 0o622, uid: 9 },
      folderOf('names/'),
      file('names/größe ☃', 'no ASCII\n', { nanoseconds: 1 }),
      file('names/with\nnewline and \\ and "', 'odd\n'),
      file(`names/${long}`, 'more than a header holds\n', { nanoseconds: 123_456_789 }),
      symlink('names/long-target', `/absent/${long}/${long}`),
      symlink('names/absolute', '/bin/su'),
      file('owned', 'by many\n', { uid: 1_234_567, gid: 2_000_000, xattrs: { 'user.note': 'a note' } }),
      file('empty', ''),
    ],
    [
      folderOf('bin/', { mode: 0o711 }),
      file('bin/plain', 'gets one\n', { mode: 0o755, xattrs: { 'security.capability': capability } }),
      file('bin/loses', 'loses one\n', { mode: 0o755 }),
      file('owned', 'by many\n', { uid: 1, gid: 2, mode: 0o400 }),
      folderOf('dev/'),
      whiteout('dev/sda1'),
      { name: 'dev/pipe', type: 'fifo', mode: 0o600 },
    ],
  ];
}

/** A file that fills a layer of 2 GiB; not compressed there, but it can be by who wants to. */
function twoGigabytes(): LayerEntry[] {
  const chunk = (index: number) => Buffer.alloc(1 << 20, `block ${index} of a file that is long and not interesting; `);
  return [folderOf('./'), { name: 'big', made: { bytes: 2 ** 31, chunk } }];
}

function* manyFiles(count: number): Generator<LayerEntry> {
  yield folderOf('./');
  for (let number = 0; number < count; number++) {
    if (number % 1000 === 0) yield folderOf(`${number / 1000}/`);
    yield file(`${Math.floor(number / 1000)}/${number}`, `file ${number}\n`, {
      mode: number % 3 === 0 ? 0o600 : 0o644,
    });
  }
}
