import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FlotillaError } from '@flotilla/errors';
import { isBtrfs } from '@flotilla/linux';
import { flushFolder } from '../flush-folder.ts';
import { BtrfsSnapshotter } from './btrfs.ts';
import { NativeSnapshotter } from './native.ts';
import { OverlayfsSnapshotter } from './overlayfs.ts';
import { whyNoUpper } from './probe-overlay.ts';
import { type Snapshotter, type SnapshotterName, snapshotterNames } from './snapshotter.ts';

/** A snapshotter, and why it is this one, for a log line. */
export interface SnapshotterChoice {
  readonly snapshotter: Snapshotter;
  readonly because: string;
}

/**
 * Finds the snapshotter of a root: the one that is wanted, or was chosen before, or else overlayfs where the file system can hold
 * its writable layers, and native where not. The choice is written down, for layers of one are not what another takes them for:
 * FAILED_PRECONDITION / SNAPSHOTTER_DIFFERS while there are layers or snapshots of another; SNAPSHOTTER_UNUSABLE when the file
 * system cannot do what is wanted.
 */
export function chooseSnapshotter(root: string, wanted: SnapshotterName | undefined): SnapshotterChoice {
  const recorded = readRecord(root) ?? (isInUse(root) ? 'overlayfs' : undefined);
  if (wanted !== undefined && recorded !== undefined && wanted !== recorded && isInUse(root)) {
    throw differs(root, recorded, wanted);
  }
  const { name, because } = choose(root, wanted, recorded);
  if (name !== readRecord(root)) writeRecord(root, name);
  return { snapshotter: make(name), because };
}

function choose(
  root: string,
  wanted: SnapshotterName | undefined,
  recorded: SnapshotterName | undefined,
): { readonly name: SnapshotterName; readonly because: string } {
  if (wanted === undefined && recorded !== undefined) {
    return { name: recorded, because: 'the root was made with it' };
  }
  if (wanted === 'btrfs' && !isBtrfs(root)) throw unusable(root, wanted, 'it is not on btrfs');
  const problem = wanted === undefined || wanted === 'overlayfs' ? whyNoUpper(root) : undefined;
  if (wanted === 'overlayfs' && problem !== undefined) throw unusable(root, wanted, problem);
  if (wanted !== undefined) return { name: wanted, because: 'the settings say so' };
  return problem === undefined
    ? { name: 'overlayfs', because: 'the file system can hold its writable layers' }
    : { name: 'native', because: `overlayfs cannot be used: ${problem}` };
}

function make(name: SnapshotterName): Snapshotter {
  switch (name) {
    case 'overlayfs':
      return new OverlayfsSnapshotter();
    case 'native':
      return new NativeSnapshotter();
    case 'btrfs':
      return new BtrfsSnapshotter();
  }
}

/** Whether there are layers or snapshots; what was only begun, or is on its way out, does not count. */
function isInUse(root: string): boolean {
  const names = (folder: string) => (existsSync(join(root, folder)) ? readdirSync(join(root, folder)) : []);
  return names('layers').some((name) => /^\d+$/.test(name)) || names('snapshots').some((name) => !name.startsWith('.'));
}

const recordOf = (root: string) => join(root, 'snapshotter');

function readRecord(root: string): SnapshotterName | undefined {
  if (!existsSync(recordOf(root))) return undefined;
  const text = readFileSync(recordOf(root), 'utf8').trim();
  const name = snapshotterNames.find((one) => one === text);
  if (name !== undefined) return name;
  throw new FlotillaError(
    'failed_precondition',
    `${recordOf(root)} names the snapshotter ${JSON.stringify(text.slice(0, 100))}, which this release does not have`,
    { reason: 'SNAPSHOTTER_UNKNOWN', metadata: { root, snapshotter: text.slice(0, 100) } },
  );
}

function writeRecord(root: string, name: SnapshotterName): void {
  const fresh = `${recordOf(root)}.new`;
  const fd = openSync(fresh, 'w', 0o600);
  try {
    writeSync(fd, `${name}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(fresh, recordOf(root));
  flushFolder(root);
}

function differs(root: string, recorded: SnapshotterName, wanted: SnapshotterName): FlotillaError {
  return new FlotillaError(
    'failed_precondition',
    `the images in ${root} are kept with the snapshotter ${recorded}, not ${wanted}: remove containers and images first, or give ` +
      `${wanted} a root of its own`,
    { reason: 'SNAPSHOTTER_DIFFERS', metadata: { root, recorded, wanted } },
  );
}

function unusable(root: string, wanted: SnapshotterName, problem: string): FlotillaError {
  return new FlotillaError('failed_precondition', `the snapshotter ${wanted} cannot be used in ${root}: ${problem}`, {
    reason: 'SNAPSHOTTER_UNUSABLE',
    metadata: { root, wanted, problem },
  });
}
