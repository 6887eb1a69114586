import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../harness/cache-folder.ts';
import { mustRun } from '../harness/run-program.ts';

/** A Debian image of two layers, the second with whiteouts, in both archive forms. */
export interface DebianImage {
  /** `docker save`'s form, named `flotilla-e2e/debian:docker`. */
  readonly dockerArchive: string;
  /** An OCI image layout as a tar, named `flotilla-e2e/debian:oci`. */
  readonly ociArchive: string;
  /** What `dpkg -l | wc -l` says in a chroot on the same root. */
  readonly packageLines: string;
}

export const dockerReference = 'flotilla-e2e/debian:docker';
export const ociReference = 'flotilla-e2e/debian:oci';

/** The distribution's own code name, so that the root comes from where the host's packages come from. */
function suite(): string {
  const name = readFileSync('/etc/os-release', 'utf8').match(/^VERSION_CODENAME=(\w+)$/m)?.[1];
  if (name === undefined) throw new Error('/etc/os-release does not name a suite: debootstrap needs a Debian host');
  return name;
}

/** The first source of packages that apt is set up with. */
function mirror(): string {
  const files = [
    '/etc/apt/sources.list',
    ...readdirSync('/etc/apt/sources.list.d').map((name) => `/etc/apt/sources.list.d/${name}`),
  ];
  for (const file of files.filter((one) => /[.](list|sources)$/.test(one) && existsSync(one))) {
    const found = readFileSync(file, 'utf8').match(/^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(\S+)/m)?.[1];
    if (found !== undefined) return found;
  }
  throw new Error('apt has no source of packages');
}

/** Builds the image at first use, which takes about a minute and a half; later uses find it in the cache. */
export async function debianImage(): Promise<DebianImage> {
  const folder = join(cacheFolder, `debian-${suite()}-1`);
  if (!existsSync(folder)) {
    const building = `${folder}.building`;
    rmSync(building, { recursive: true, force: true });
    mkdirSync(building, { recursive: true });
    await build(building);
    renameSync(building, folder);
  }
  return {
    dockerArchive: join(folder, 'docker.tar'),
    ociArchive: join(folder, 'oci.tar'),
    packageLines: readFileSync(join(folder, 'package-lines'), 'utf8'),
  };
}

async function build(folder: string): Promise<void> {
  const layout = join(folder, 'layout');
  const image = `${layout}:debian`;
  const bundle = join(folder, 'bundle');
  const rootfs = join(bundle, 'rootfs');
  const long = { timeoutMs: 280_000 };
  await mustRun('umoci', ['init', '--layout', layout]);
  await mustRun('umoci', ['new', '--image', image]);
  await mustRun('umoci', ['unpack', '--image', image, bundle]);
  await mustRun('debootstrap', ['--variant=minbase', '--include=nginx', suite(), rootfs, mirror()], long);
  for (const name of ['var/cache/apt', 'var/lib/apt/lists', 'debootstrap']) {
    rmSync(join(rootfs, name), { recursive: true, force: true });
  }
  await mustRun('umoci', ['repack', '--image', image, '--refresh-bundle', bundle], long);

  // The second layer: a file and a folder gone (whiteouts), a folder replaced, a file changed, a file added.
  rmSync(join(rootfs, 'usr/share/doc'), { recursive: true });
  rmSync(join(rootfs, 'etc/issue'));
  rmSync(join(rootfs, 'usr/share/man'), { recursive: true });
  mkdirSync(join(rootfs, 'usr/share/man'));
  writeFileSync(join(rootfs, 'usr/share/man/second-layer'), 'second\n');
  writeFileSync(join(rootfs, 'etc/motd'), 'changed by the second layer\n');
  writeFileSync(join(rootfs, 'var/www/html/index.html'), 'served by nginx in a container\n');
  await mustRun('umoci', ['repack', '--image', image, bundle], long);
  await mustRun('umoci', ['config', '--image', image, '--config.cmd', 'bash', '--config.env', 'LANG=C.UTF-8']);

  const lines = await mustRun('chroot', [rootfs, 'bash', '-c', 'dpkg -l | wc -l']);
  writeFileSync(join(folder, 'package-lines'), lines.trim());
  const copy = (target: string) => mustRun('skopeo', ['--insecure-policy', 'copy', `oci:${image}`, target], long);
  await copy(`docker-archive:${join(folder, 'docker.tar')}:${dockerReference}`);
  await copy(`oci-archive:${join(folder, 'oci.tar')}:${ociReference}`);
  rmSync(bundle, { recursive: true });
  rmSync(layout, { recursive: true });
}
