import { invalidField } from '@flotilla/errors';
import type { ImageConfigDocument, Platform } from '@flotilla/oci/image';

// As containerd's platforms package has them, and so Docker.

/** What a platform is called, in its one form: `aarch64` is `arm64`, `arm` without a variant is `arm/v7`. */
export function normalisePlatform({ os, architecture, variant = '' }: Platform): Platform {
  const name = os.toLowerCase();
  const [arch, version] = normaliseArchitecture(architecture.toLowerCase(), variant.toLowerCase());
  return {
    os: name === 'macos' ? 'darwin' : name,
    architecture: arch,
    ...(version === '' ? {} : { variant: version }),
  };
}

function normaliseArchitecture(architecture: string, variant: string): readonly [string, string] {
  switch (architecture) {
    case 'i386':
      return ['386', ''];
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return ['amd64', variant === 'v1' ? '' : variant];
    case 'aarch64':
    case 'arm64':
      return ['arm64', variant === '8' || variant === 'v8' ? '' : variant];
    case 'armhf':
      return ['arm', 'v7'];
    case 'armel':
      return ['arm', 'v6'];
    case 'arm':
      return ['arm', variant === '' ? 'v7' : /^[5678]$/.test(variant) ? `v${variant}` : variant];
    default:
      return [architecture, variant];
  }
}

/**
 * Reads `linux/arm/v7`, `linux/amd64` or an architecture alone; empty is the host's. INVALID_FIELD otherwise, and for an
 * operating system other than Linux.
 */
export function parsePlatform(text: string, host: Platform, field = 'platform'): Platform {
  if (text === '') return normalisePlatform(host);
  const refuse = () =>
    invalidField(field, '`linux/` and an architecture with an optional variant, such as `linux/arm/v7`', text);
  const parts = text.split('/');
  if (parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(part))) throw refuse();
  if (parts.length === 1) {
    const [word = ''] = parts;
    const alone = normalisePlatform({ os: 'linux', architecture: word });
    if (alone.architecture === 'linux') return normalisePlatform(host);
    if (!knownArchitectures.has(alone.architecture)) throw refuse();
    return alone;
  }
  const [os = '', architecture = '', variant = ''] = parts;
  const platform = normalisePlatform({ os, architecture, variant });
  if (platform.os !== 'linux') throw refuse();
  return platform;
}

/** Of GOARCH, those that Linux runs on. */
const knownArchitectures = new Set(
  '386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x'.split(' '),
);

/** `linux/arm/v7`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/');
}

/**
 * What a platform runs, best first: newer variants run what was made for older ones, amd64 runs 386, arm64 runs arm.
 */
export function compatiblePlatforms(platform: Platform): Platform[] {
  const { os, architecture, variant = '' } = normalisePlatform(platform);
  const of = (arch: string, version: string) => normalisePlatform({ os, architecture: arch, variant: version });
  const own = of(architecture, variant);
  switch (architecture) {
    case 'amd64':
      return [own, ...older(variant, 1).map((version) => of('amd64', version)), of('386', '')];
    case 'arm':
      return [own, ...older(variant, 5).map((version) => of('arm', version))];
    case 'arm64': {
      const versions = olderArm64(variant === '' ? 'v8' : variant);
      const arm = /^v[89][.]/.test(variant) || variant === '' ? 'v8' : variant;
      return [own, ...versions.map((version) => of('arm64', version)), ...compatiblePlatforms(of('arm', arm))];
    }
    default:
      return [own];
  }
}

function older(variant: string, lowest: number): string[] {
  const version = /^v(\d)$/.exec(variant)?.[1];
  if (version === undefined) return [];
  return Array.from({ length: Math.max(Number(version) - lowest, 0) }, (_, i) => `v${Number(version) - 1 - i}`);
}

/** v9.0 grew out of v8.5, so v9.x runs v8.(x+5). */
function olderArm64(variant: string): string[] {
  const match = /^v([89])(?:[.](\d))?$/.exec(variant);
  if (match === null) return [];
  const minor = Number(match[2] ?? 0);
  const below = (major: number, from: number) =>
    Array.from({ length: from }, (_, i) => (from - 1 - i === 0 ? `v${major}` : `v${major}.${from - 1 - i}`));
  return match[1] === '8' ? below(8, minor) : [...below(9, minor), `v8.${minor + 5}`, ...below(8, minor + 5)];
}

/** The best of several candidates for a platform; undefined when it runs none of them. The first of equals wins. */
export function selectPlatform<T>(
  candidates: readonly T[],
  platformOf: (candidate: T) => Platform | undefined,
  wanted: Platform,
): T | undefined {
  for (const one of compatiblePlatforms(wanted)) {
    const found = candidates.find((candidate) => {
      const platform = platformOf(candidate);
      return platform !== undefined && formatPlatform(normalisePlatform(platform)) === formatPlatform(one);
    });
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What an image's config says that it was made for; an empty field says nothing. */
export function platformOf({ os, architecture, variant }: ImageConfigDocument): Platform {
  return normalisePlatform({ os: os === '' ? 'linux' : os, architecture, variant: variant ?? '' });
}

/** Whether a platform runs what was made for another. */
export function runsOn(made: Platform, wanted: Platform): boolean {
  return selectPlatform([made], (one) => one, wanted) !== undefined;
}
