import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../harness/run-program.ts';
import { describeRoot, type RootManifest } from './describe-root.ts';
import type { ImageDigests } from './layout-writer.ts';
import type { PulledImage, Puller } from './tool.ts';

interface Document {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}

const timeoutMs = 280_000;

/** `skopeo`, and `umoci` for what it has fetched. */
export class Skopeo implements Puller {
  readonly name = 'skopeo';
  readonly #folder: string;

  /** `config.json` of the folder says who is logged in. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Sends the image of an OCI layout, as it is. */
  async push(layout: string, reference: string): Promise<void> {
    await this.#copy(`oci:${layout}:image`, `docker://${reference}`, '--preserve-digests');
  }

  async pull(reference: string): Promise<PulledImage> {
    const [blobs, layout] = [join(this.#folder, 'skopeo-dir'), join(this.#folder, 'skopeo-oci')];
    try {
      await this.#copy(`docker://${reference}`, `dir:${blobs}`, '--preserve-digests');
      const digests = digestsOf(readFileSync(join(blobs, 'manifest.json')), (config) =>
        readFileSync(join(blobs, config.slice('sha256:'.length))),
      );
      await this.#copy(`dir:${blobs}`, `oci:${layout}:image`);
      return { digests, root: await unpackedRoot(layout, join(this.#folder, 'skopeo-root')) };
    } finally {
      for (const path of [blobs, layout]) rmSync(path, { recursive: true, force: true });
    }
  }

  /** Gives the image of an OCI layout to a Docker daemon. */
  async giveToDocker(layout: string, daemon: string, name: string): Promise<void> {
    await this.#copy(`oci:${layout}:image`, `docker-daemon:${name}`, '--dest-daemon-host', daemon);
  }

  /** What the registry has under that name. */
  async look(reference: string): Promise<ImageDigests> {
    const ask = (...flags: string[]) =>
      mustRun('skopeo', [
        'inspect',
        ...this.#access(`docker://${reference}`, ''),
        ...flags,
        '--raw',
        `docker://${reference}`,
      ]);
    const config = Buffer.from(await ask('--config'));
    return digestsOf(Buffer.from(await ask()), () => config);
  }

  async #copy(source: string, target: string, ...flags: string[]): Promise<void> {
    const side = source.startsWith('docker://') ? 'src-' : 'dest-';
    const access = this.#access(`${source} ${target}`, side);
    await mustRun('skopeo', ['copy', '-q', '--insecure-policy', ...access, ...flags, source, target], {
      timeoutMs,
      env: { ...process.env, TMPDIR: this.#folder },
    });
  }

  /** What speaks plain HTTP is on 127.0.0.1; the registry with TLS must be verified. */
  #access(text: string, side: 'src-' | 'dest-' | ''): string[] {
    const plain = text.includes('docker://127.0.0.1') ? [`--${side}tls-verify=false`] : [];
    return [...plain, '--authfile', join(this.#folder, 'config.json')];
  }
}

/** The digests of the image in an OCI layout. */
export function layoutDigests(layout: string): ImageDigests {
  const blob = (digest: string) => readFileSync(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)));
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: readonly [{ digest: string }];
  };
  return digestsOf(blob(manifests[0].digest), blob);
}

function digestsOf(manifest: Buffer, readConfig: (digest: string) => Buffer): ImageDigests {
  const { config, layers } = JSON.parse(manifest.toString()) as Document;
  const { rootfs } = JSON.parse(readConfig(config.digest).toString()) as { rootfs: { diff_ids: readonly string[] } };
  return {
    manifest: `sha256:${createHash('sha256').update(manifest).digest('hex')}`,
    config: config.digest,
    layers: layers.map(({ digest }) => digest),
    diffIds: rootfs.diff_ids,
  };
}

/**
 * The root of the image in an OCI layout, as others unpack it: `umoci`, and GNU tar where there is but one layer, since `umoci`
 * takes minutes for 100,000 files.
 */
export async function unpackedRoot(layout: string, folder: string): Promise<RootManifest> {
  const { layers } = layoutDigests(layout);
  const [only, second] = layers;
  try {
    if (only === undefined || second !== undefined) {
      await mustRun('umoci', ['unpack', '--image', `${layout}:image`, folder], { timeoutMs });
      return await describeRoot(join(folder, 'rootfs'));
    }
    mkdirSync(folder);
    const blob = join(layout, 'blobs/sha256', only.slice('sha256:'.length));
    const flags = ['--numeric-owner', '--same-permissions', '--xattrs', '--xattrs-include=*'];
    await mustRun('tar', ['-xzf', blob, '-C', folder, ...flags], { timeoutMs });
    return await describeRoot(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
