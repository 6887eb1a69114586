import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../harness/run-program.ts';

/** What stands at each path of a root file system, from `.` downwards, as a line that is the same for the same thing. */
export type RootManifest = ReadonlyMap<string, string>;

/**
 * All that an image can say of a tree: mode with kind, owner, times to the nanosecond, sizes, contents, targets, devices, hard links,
 * and extended attributes but those by which overlayfs keeps its books.
 */
export async function describeRoot(root: string): Promise<RootManifest> {
  const attributes = await readAttributes(root);
  const manifest = new Map<string, string>();
  const names = new Map<string, string[]>();
  const buffer = Buffer.alloc(1 << 20);
  const look = (path: string): void => {
    const full = join(root, path);
    const status = lstatSync(full, { bigint: true });
    const parts = [
      Number(status.mode).toString(8),
      `${status.uid}:${status.gid}`,
      formatTime(status.mtimeNs),
      ...whatIsThere(full, status, buffer),
      ...(attributes.get(path) ?? []),
    ];
    if (!status.isDirectory() && status.nlink > 1n) {
      const inode = `${status.dev}:${status.ino}`;
      names.set(inode, [...(names.get(inode) ?? []), path]);
    }
    manifest.set(path, parts.join(' '));
    if (!status.isDirectory()) return;
    for (const name of readdirSync(full).sort()) look(path === '.' ? name : `${path}/${name}`);
  };
  look('.');
  // How many names an inode has, the kernel counts with those that an upper layer hides.
  for (const paths of names.values()) {
    if (paths.length > 1) for (const path of paths) manifest.set(path, `${manifest.get(path)} = ${paths.join(' = ')}`);
  }
  return manifest;
}

const formatTime = (nanoseconds: bigint) =>
  `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}`;

function whatIsThere(path: string, status: BigIntStats, buffer: Buffer): string[] {
  if (status.isFile()) return [`${status.size}`, hashFile(path, buffer)];
  if (status.isSymbolicLink()) return [`-> ${readlinkSync(path)}`];
  if (status.isBlockDevice() || status.isCharacterDevice()) return [`device ${status.rdev}`];
  return [];
}

function hashFile(path: string, buffer: Buffer): string {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  try {
    for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer)) {
      hash.update(buffer.subarray(0, length));
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

/** getfattr(1) names paths in octal where they are not printable, and says nothing of what has no attributes. */
async function readAttributes(root: string): Promise<Map<string, string[]>> {
  const output = await mustRun('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: root,
    timeoutMs: 120_000,
  });
  const found = new Map<string, string[]>();
  for (const block of output.split('\n\n')) {
    const [head, ...lines] = block.split('\n').filter(Boolean);
    const path = head?.match(/^# file: (.*)$/)?.[1];
    if (path === undefined) continue;
    const kept = lines.filter((line) => !line.startsWith('trusted.overlay.')).sort();
    if (kept.length > 0) found.set(unescapeOctal(path), kept);
  }
  return found;
}

function unescapeOctal(path: string): string {
  const bytes = path.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return bytes === path ? path : Buffer.from(bytes, 'latin1').toString();
}

/** What differs, path by path; of `timeless` folders the time may. */
export function differencesOf(
  found: RootManifest,
  expected: RootManifest,
  timeless: ReadonlySet<string> = new Set(),
): string[] {
  const at = (manifest: RootManifest, path: string) => {
    const line = manifest.get(path);
    return timeless.has(path) ? line?.replace(/ \d+\.\d{9}/, '') : line;
  };
  const paths = new Set([...found.keys(), ...expected.keys()]);
  return [...paths]
    .filter((path) => at(found, path) !== at(expected, path))
    .map((path) => `${path}: ${found.get(path) ?? 'absent'}, not ${expected.get(path) ?? 'absent'}`);
}
