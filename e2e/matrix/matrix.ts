import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../harness/engine.ts';
import { makeTestFolders } from '../harness/test-folders.ts';
import { differencesOf } from './describe-root.ts';
import { Dockerd } from './dockerd.ts';
import { Flotilla } from './flotilla.ts';
import { impliedFolders } from './implied-folders.ts';
import type { ImageDigests } from './layout-writer.ts';
import { coverEtc, trust } from './own-names.ts';
import { type Authority, makeAuthority, type RegistryKind, startRegistry, writeLogins } from './registry-kinds.ts';
import { layoutDigests, Skopeo, unpackedRoot } from './skopeo.ts';
import type { PulledImage, Puller } from './tool.ts';

/** One image, over one kind of registry, from one tool to another. */
export interface Cell {
  readonly image: string;
  readonly registry: RegistryKind;
  /** `skopeo → flotilla`. */
  readonly way: string;
  /** What differs; nothing must. */
  readonly digests: readonly string[];
  readonly root: readonly string[];
  readonly paths: number;
}

export interface MatrixOptions {
  /** OCI layouts, each with an image `image`, by the names of what they hold. */
  readonly layouts: ReadonlyMap<string, string>;
  readonly kinds: readonly RegistryKind[];
  /** Whether the engine also pushes on what it pulled from dockerd, which is in schema 2. */
  readonly alsoSchema2: boolean;
  readonly onCell: (cell: Cell) => void;
}

interface Tools {
  readonly skopeo: Skopeo;
  readonly dockerd: Dockerd;
  readonly flotilla: Flotilla;
}

/**
 * Sends every image through every kind of registry: what `skopeo` and a `dockerd` have pushed is pulled by the engine, what the
 * engine pushes into a registry that has nothing yet is pulled by both. The kind `tls` needs a mount namespace of its own.
 */
export async function runMatrix({ layouts, kinds, alsoSchema2, onCell }: MatrixOptions): Promise<void> {
  const { folder } = makeTestFolders();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const authority = await makeAuthority(folder, stack);
  if (kinds.includes('tls')) await coverEtc(folder);
  const [engine, dockerd] = await Promise.all([Engine.start(), Dockerd.start(folder)]);
  stack.use(engine);
  stack.use(dockerd);
  const tools: Tools = { skopeo: new Skopeo(folder), dockerd, flotilla: stack.use(new Flotilla(engine, folder)) };
  for (const [image, layout] of layouts) {
    const expected = { digests: layoutDigests(layout), root: await unpackedRoot(layout, join(folder, 'expected')) };
    const implied = await impliedFolders(layout, expected.digests);
    for (const registry of kinds) {
      const report = (way: string, found: PulledImage, digests: Partial<ImageDigests> = expected.digests) =>
        onCell({
          image,
          registry,
          way,
          digests: differingDigests(found.digests, digests),
          root: differencesOf(found.root, expected.root, found.makesImpliedFolders === true ? implied : new Set()),
          paths: found.root.size,
        });
      await sendThrough({
        kind: registry,
        folder,
        authority,
        layout,
        tools,
        alsoSchema2,
        report,
      });
    }
  }
}

interface Passage {
  readonly kind: RegistryKind;
  /** Where the tools look for who is logged in. */
  readonly folder: string;
  readonly authority: Authority;
  readonly layout: string;
  readonly tools: Tools;
  readonly alsoSchema2: boolean;
  readonly report: (way: string, found: PulledImage, digests?: Partial<ImageDigests>) => void;
}

async function sendThrough({ kind, folder, authority, layout, tools, alsoSchema2, report }: Passage): Promise<void> {
  const { skopeo, dockerd, flotilla } = tools;
  // Two: what the engine pushes must not be there already.
  await using from = await startRegistry(kind, authority);
  await using to = await startRegistry(kind, authority);
  writeLogins(folder, [from, to]);
  if (kind === 'tls') for (const { host } of [from, to]) trust(host, authority.certificate);

  await skopeo.push(layout, `${from.host}/by/skopeo:1`);
  report('skopeo → flotilla', await flotilla.pull(`${from.host}/by/skopeo:1`, true));
  await flotilla.push(`${from.host}/by/skopeo:1`, `${to.host}/oci:1`);
  await flotilla.removeAll();

  await skopeo.giveToDocker(layout, dockerd.host, 'given:1');
  const given = await dockerd.look('given:1');
  report('(load) → dockerd', given, { diffIds: layoutDigests(layout).diffIds, config: layoutDigests(layout).config });
  await dockerd.push('given:1', `${from.host}/by/dockerd:1`);
  await dockerd.removeAll();
  const inRegistry = await skopeo.look(`${from.host}/by/dockerd:1`);
  report('dockerd → flotilla', await flotilla.pull(`${from.host}/by/dockerd:1`, true), inRegistry);
  if (alsoSchema2) await flotilla.push(`${from.host}/by/dockerd:1`, `${to.host}/schema2:1`);
  await flotilla.removeAll();

  for (const tool of [skopeo, dockerd] satisfies readonly Puller[]) {
    report(`flotilla (oci) → ${tool.name}`, await tool.pull(`${to.host}/oci:1`));
    if (!alsoSchema2) continue;
    report(`flotilla (schema 2) → ${tool.name}`, await tool.pull(`${to.host}/schema2:1`), inRegistry);
  }
}

/** What is expected of manifest, config and uncompressed layers must be known; layers as stored, only skopeo can tell. */
function differingDigests(found: Partial<ImageDigests>, expected: Partial<ImageDigests>): string[] {
  const wrong: string[] = [];
  for (const name of ['manifest', 'config', 'layers', 'diffIds'] as const) {
    const [got, wanted] = [found[name], expected[name]];
    if (wanted === undefined || (got === undefined && name === 'layers')) continue;
    if (String(got) !== String(wanted)) wrong.push(`${name} ${got}, not ${wanted}`);
  }
  if (expected.config === undefined) wrong.push('no image id to compare');
  return wrong;
}
