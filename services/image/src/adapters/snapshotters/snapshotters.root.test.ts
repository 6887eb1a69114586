import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createSubvolume,
  readlinkat,
  readXattrsAt,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  statAt,
} from '@flotilla/linux';
import { sha256Digest } from '@flotilla/oci';
import type { Change } from '../../archive/list-changes.ts';
import type { ImageRecord } from '../../domain/image.ts';
import { SnapshotTrees } from '../snapshot-trees.ts';
import { chooseSnapshotter } from './choose-snapshotter.ts';
import type { SnapshotterName } from './snapshotter.ts';
import { mountBtrfs, SnapshotRig } from './testing/snapshot-rig.ts';

// One suite for every snapshotter: what a container sees is the same, whatever lies below.
const noRoot =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts and makes devices: only root, with FLOTILLA_ROOT_TESTS=1';
const noBtrfs = noRoot || whyNoBtrfs();
const folder = mkdtempSync(join(tmpdir(), 'fl-snap-'));
const stack = new DisposableStack();
const tars: { readonly path: string; readonly diffId: string }[] = [];

function whyNoBtrfs(): string | false {
  if (!/\bbtrfs\b/.test(readFileSync('/proc/filesystems', 'utf8'))) return 'the kernel has no btrfs';
  const found = (process.env.PATH ?? '').split(':').some((path) => existsSync(join(path, 'mkfs.btrfs')));
  return found ? false : 'there is no mkfs.btrfs (package btrfs-progs)';
}

const script = `umask 022
mkdir -p one/bin one/etc one/data/sub/deep one/gone/below one/swap-dir/x one/opaque one/tmp one/late
chmod 1777 one/tmp; chmod 750 one/data; chown 7:8 one/data; setfattr -n user.dir -v one one/data
cp /bin/busybox one/bin/tool; chmod 4755 one/bin/tool; ln one/bin/tool one/bin/second; setcap cap_net_raw+ep one/bin/second
echo keep > one/data/keep; chown 5:6 one/data/keep; setfattr -n user.a -v b one/data/keep; chmod 640 one/data/keep
echo deep > one/data/sub/deep/file; echo x > one/gone/below/file; echo x > one/gone-file; echo x > one/opaque/old
echo x > one/swap-dir/x/y; echo x > one/swap-file; ln -s ../etc/none one/data/link; ln -s data one/swap-link
mknod one/data/null c 1 3; mknod one/data/disk b 7 99; mkfifo -m 622 one/data/pipe; chown 9:9 one/data/null
truncate -s 1M one/data/sparse; echo end >> one/data/sparse; echo one > "one/data/ü ñ"; echo a > one/late/a; echo b > one/late/b
ln one/data/keep one/data/kept
mkdir -p two/data/sub two/opaque/new two/swap-file two/swap-link two/gone two/late
touch two/.wh.gone-file two/gone/.wh.below two/opaque/.wh..wh..opq two/late/.wh.a
echo now > two/opaque/fresh; echo file > two/swap-dir; echo in > two/swap-file/in; echo in > two/swap-link/in
echo again > two/data/keep; chmod 700 two/data/sub; chown 3:4 two/data/sub; chmod 600 two/data; setfattr -n user.other -v two two/data
mkdir -p three/late three/gone/below three/opaque; touch three/.wh.opaque three/late/.wh.b three/opaque/.wh.never
mkdir three/opaque/mine; echo three > three/opaque/mine/file; echo back > three/gone-file; ln three/gone-file three/gone-again
for l in one two three; do
  find $l -exec touch -h -d @1700000000.123456789 {} +
  touch -h -d @1600000000.5 $l/late $l
  tar -C $l --format=pax --xattrs --xattrs-include='*' --numeric-owner --sparse -cf $l.tar .
done`;

/** What the three layers come to, by hand: path, type, mode, owner, group, then what else there is to say. */
const expected = [
  '. d 755 0 0 time 1600000000500000000',
  './bin d 755 0 0',
  './bin/second f 4755 0 0 links 2 capability',
  './bin/tool f 4755 0 0 links 2 capability',
  './data d 600 0 0 user.other=two',
  './data/disk b 644 0 0 7:99',
  './data/keep f 644 0 0 again',
  './data/kept f 640 5 6 keep user.a=b',
  './data/link l 777 0 0 -> ../etc/none',
  './data/null c 644 9 9 1:3',
  './data/pipe p 622 0 0',
  './data/sparse f 644 0 0 end',
  './data/sub d 700 3 4',
  './data/sub/deep d 755 0 0',
  './data/sub/deep/file f 644 0 0 deep',
  './data/ü ñ f 644 0 0 one',
  './etc d 755 0 0',
  './gone d 755 0 0',
  './gone-again f 644 0 0 back links 2',
  './gone-file f 644 0 0 back links 2',
  './gone/below d 755 0 0',
  './late d 755 0 0 time 1600000000500000000',
  './opaque d 755 0 0',
  './opaque/mine d 755 0 0',
  './opaque/mine/file f 644 0 0 three',
  './swap-dir f 644 0 0 file',
  './swap-file d 755 0 0',
  './swap-file/in f 644 0 0 in',
  './swap-link d 755 0 0',
  './swap-link/in f 644 0 0 in',
  './tmp d 1777 0 0',
];
const usualTime = 1_700_000_000_123_456_789n;
const types = new Map([
  [S_IFDIR, 'd'],
  [S_IFREG, 'f'],
  [S_IFLNK, 'l'],
  [S_IFCHR, 'c'],
  [S_IFBLK, 'b'],
  [S_IFIFO, 'p'],
]);

/** The same of what is there. */
function describe(root: string): string[] {
  const paths = execFileSync('find', ['.', '-print0'], { cwd: root }).toString().split('\0').filter(Boolean);
  const fd = openSync(root, constants.O_RDONLY);
  try {
    return paths.sort().map((path) => describeOne(fd, path));
  } finally {
    closeSync(fd);
  }
}

function describeOne(root: number, path: string): string {
  const { mode, uid, gid, links, specialDevice, modifiedUnixNano } = statAt(root, path);
  const type = types.get(mode & S_IFMT) ?? '?';
  const words = [path, type, (mode & 0o7777).toString(8), uid, gid];
  const xattrs = readXattrsAt(root, path);
  if (type === 'f' && !path.startsWith('./bin/')) {
    words.push(readFileSync(`/proc/self/fd/${root}/${path}`, 'latin1').replaceAll('\0', '').trim());
  }
  if (type === 'l') words.push('->', readlinkat(root, path));
  if (type === 'c' || type === 'b') words.push(specialDevice.join(':'));
  // Where a layer took one name of several away, overlayfs goes on counting it.
  if (type === 'f' && links > 1 && !path.startsWith('./data/')) words.push('links', links);
  if (modifiedUnixNano !== usualTime) words.push('time', String(modifiedUnixNano));
  for (const [name, value] of xattrs) if (name.startsWith('user.')) words.push(`${name}=${value}`);
  if (xattrs.has('security.capability')) words.push('capability');
  return words.join(' ');
}

const digestOf = (path: string) => sha256Digest(readFileSync(path));
const rootOf = (name: string) => join(folder, name);

interface Kind {
  readonly title: string;
  readonly root: string;
  readonly name: SnapshotterName;
  readonly skip: string | false;
}
const kinds: readonly Kind[] = [
  { title: 'overlayfs', root: 'overlayfs', name: 'overlayfs', skip: noRoot },
  { title: 'native', root: 'native', name: 'native', skip: noRoot },
  { title: 'native where blocks can be shared', root: 'btrfs/native', name: 'native', skip: noBtrfs },
  { title: 'btrfs', root: 'btrfs/own', name: 'btrfs', skip: noBtrfs },
];

before(() => {
  if (noRoot !== false) return;
  execFileSync('sh', ['-ec', script], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  for (const name of ['one', 'two', 'three']) {
    const path = join(folder, `${name}.tar`);
    tars.push({ path, diffId: digestOf(path) });
  }
  for (const { root } of kinds) if (!root.startsWith('btrfs')) mkdirSync(rootOf(root));
  if (noBtrfs !== false) return;
  stack.use(mountBtrfs(rootOf('btrfs')));
  for (const name of ['btrfs/native', 'btrfs/own']) mkdirSync(rootOf(name));
});
after(() => {
  stack.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** What a container does; `etc/hosts` is what the engine made to mount on. */
const changeScript = `rm gone-file; rm -r opaque; mkdir opaque; echo n > opaque/n; rm -r swap-file; echo file > swap-file
  rm swap-dir; mkdir swap-dir; echo in > swap-dir/in; echo more >> data/keep; chown 1:2 data/kept; chmod 711 etc
  mkdir -p new/er; echo x > new/er/x; setfattr -n user.k -v v new/er/x; ln new/er/x new/linked
  find gone-again data/keep data/kept etc swap-file swap-dir opaque new -exec touch -h -d @1700000000.123456789 {} +
  touch -h -d @1700000000.123456789 data
  : > etc/hosts; touch -h -d @1700000000.123456789 etc/hosts etc`;
const expectedChanges = [
  'a /new',
  'a /new/er',
  'a /new/er/x',
  'a /new/linked',
  'a /opaque/n',
  'a /swap-dir/in',
  'd /gone-file',
  'd /opaque/mine',
  'm /data',
  'm /data/keep',
  'm /data/kept',
  'm /etc',
  'm /opaque',
  'm /swap-dir',
  'm /swap-file',
];

/** Waits until nothing is left of what was removed. */
async function settled(root: string): Promise<void> {
  const left = () => [
    ...readdirSync(join(root, 'trash')),
    ...readdirSync(join(root, 'snapshots')).filter((name) => name.startsWith('.')),
    ...readdirSync(join(root, 'layers')).filter((name) => !/^\d+$/.test(name)),
  ];
  for (let tries = 0; left().length > 0 && tries < 200; tries++) await sleep(25);
  assert.deepEqual(left(), []);
}

for (const { title, root: name, name: snapshotter, skip } of kinds) {
  const root = rootOf(name);
  let image: ImageRecord;

  test(`${title}: a container sees what its layers come to`, { skip }, async () => {
    using rig = new SnapshotRig(root, snapshotter);
    image = await rig.addImage(tars);
    await rig.snapshots.prepare('look', image.imageId);
    assert.deepEqual(rig.withMounted('look', describe), expected);
    assert.deepEqual(readdirSync(join(root, 'layers')).sort(), ['1', '2', '3'], 'nothing beside the layers');
    await rig.snapshots.prepare('look', image.imageId);
    const [one] = image.layerSizes;
    assert.ok(one! > (1 << 20) + statSync('/bin/busybox').size && one! < 2 ** 22, 'sizes are those of the files');
    assert.deepEqual(image.layerSizes.slice(1), [21, 11], 'of what the layer has, not of all that is below');
  });

  test(`${title}: what is written stays in its snapshot, and goes with it`, { skip }, async () => {
    using rig = new SnapshotRig(root, snapshotter);
    const { snapshots } = rig;
    for (const key of ['writer', 'reader']) await snapshots.prepare(key, image.imageId);
    rig.withMounted('writer', (path) => {
      appendFileSync(join(path, 'data/keep'), 'more');
      rmSync(join(path, 'swap-file'), { recursive: true });
      linkSync(join(path, 'gone-file'), join(path, 'etc/linked'));
      if (snapshotter === 'btrfs') {
        createSubvolume(join(path, 'etc/volume'));
        writeFileSync(join(path, 'etc/volume/file'), '');
      }
    });
    assert.equal(snapshots.readFile('writer', '/data/keep')?.toString(), 'again\nmore');
    assert.equal(snapshots.readFile('writer', '/swap-file/in'), undefined);
    assert.deepEqual(rig.withMounted('reader', describe), expected);
    assert.deepEqual(snapshots.usersOf(image.imageId).sort(), ['look', 'reader', 'writer']);
    for (const key of ['writer', 'reader', 'look']) await snapshots.remove(key);
    await snapshots.remove('writer');
    await settled(root);
    assert.deepEqual(readdirSync(join(root, 'snapshots')), []);
    await snapshots.prepare('after', image.imageId);
    assert.deepEqual(rig.withMounted('after', describe), expected);
    await snapshots.remove('after');
    await settled(root);
  });

  test(`${title}: a layer of what a container changed says all of it`, { skip }, async () => {
    using rig = new SnapshotRig(root, snapshotter);
    const { snapshots } = rig;
    const trees = new SnapshotTrees(snapshots);
    const { signal } = new AbortController();
    await snapshots.prepare('author', image.imageId);
    const wanted = rig.withMounted('author', (path) => {
      execFileSync('sh', ['-ec', changeScript], { cwd: path });
      return describe(path)
        .filter((line) => !line.startsWith('./etc/hosts'))
        .slice(1);
    });
    const changes: string[] = [];
    const tell = (some: readonly Change[]) => changes.push(...some.map(({ path, kind }) => `${kind[0]} ${path}`));
    await trees.changes('author', ['/etc/hosts'], tell, signal);
    assert.deepEqual(changes.sort(), expectedChanges);
    const path = join(root, 'captured.tar');
    await trees.capture({ key: 'author', mountPoints: ['/etc/hosts'], path, maxBytes: 1 << 30 }, signal);
    const child = await rig.addImage([...tars, { path, diffId: digestOf(path) }]);
    await snapshots.prepare('reader', child.imageId);
    assert.deepEqual(rig.withMounted('reader', describe).slice(1), wanted);
    assert.ok(child.layerSizes.at(-1)! < 100, 'what did not change is not in it');
    for (const key of ['author', 'reader']) await snapshots.remove(key);
    await settled(root);
  });

  test(`${title}: one that is asked for several times at once is made once, and one that is given up leaves nothing`, {
    skip,
  }, async () => {
    using rig = new SnapshotRig(root, snapshotter);
    const { snapshots } = rig;
    const [first, second] = await Promise.all([1, 2].map(() => snapshots.prepare('both', image.imageId)));
    assert.deepEqual(first, second);
    await snapshots.remove('both');
    const given = assert.rejects(snapshots.prepare('gone', image.imageId, AbortSignal.abort(new Error('enough'))));
    // Copies are stopped; what takes no time is done.
    if (!snapshots.stacked && snapshotter === 'native') await given;
    else await given.catch(() => {});
    const making = snapshots.prepare('unwanted', image.imageId);
    assert.deepEqual(snapshots.usersOf(image.imageId).includes('unwanted'), true, 'its image is in use at once');
    await Promise.all([making.catch(() => {}), snapshots.remove('unwanted'), snapshots.remove('gone')]);
    assert.deepEqual(snapshots.keys(), []);
    await settled(root);
  });

  test(`${title}: killed at any moment, what was made is whole and what was removed is gone`, { skip }, async () => {
    let made = new Set<string>();
    for (const delay of [30, 90]) {
      const said = await churn(root, snapshotter, image.imageId, delay);
      using rig = new SnapshotRig(root, snapshotter);
      for (const [word, key] of said) {
        if (word === 'made') made.add(key!);
        else made.delete(key!);
      }
      const there = rig.snapshots.keys();
      for (const key of there.slice(-4)) assert.deepEqual(rig.withMounted(key, describe), expected, key);
      // The last one may have been done, or undone, without a word.
      const last = Number(said.at(-1)![1]!.split('-')[2]);
      const pid = said.at(-1)![1]!.split('-')[1];
      const unsure = (key: string) => [last, last + 1].some((at) => key === `churn-${pid}-${at}`);
      assert.deepEqual(there.filter((key) => !unsure(key)).sort(), [...made].filter((key) => !unsure(key)).sort());
      made = new Set(there);
      await settled(root);
    }
    using rig = new SnapshotRig(root, snapshotter);
    for (const key of rig.snapshots.keys()) await rig.snapshots.remove(key);
    await settled(root);
    rig.layers.collect(new Set());
    await settled(root);
    assert.deepEqual(readdirSync(join(root, 'layers')), []);
  });
}

/** Lets a process make and remove snapshots, and kills it a while after its first; the result is what it said. */
async function churn(root: string, name: SnapshotterName, imageId: string, afterMs: number): Promise<string[][]> {
  const program = new URL('./testing/churn.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, root, name, imageId], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  const ended = new Promise((resolve) => child.once('close', resolve));
  for await (const chunk of child.stdout) {
    if (text === '') setTimeout(() => child.kill('SIGKILL'), afterMs);
    text += chunk;
  }
  await ended;
  const lines = text.split('\n').slice(0, -1);
  assert.ok(lines.length > 0, 'it made none');
  return lines.map((line) => line.split(' '));
}

test('the choice stays with the root, and is what the file system can do', { skip: noRoot }, async () => {
  const root = rootOf('choice');
  mkdirSync(root);
  const chosen = (name?: SnapshotterName) => chooseSnapshotter(root, name).snapshotter.name;
  assert.equal(chosen(), 'overlayfs');
  assert.equal(chosen('native'), 'native', 'a root without images may change');
  assert.equal(chosen(), 'native', 'and keeps what it has');
  assert.throws(() => chosen('btrfs'), {
    reason: 'SNAPSHOTTER_UNUSABLE',
    message: /btrfs cannot be used.*not on btrfs/,
  });
  {
    using rig = new SnapshotRig(root, undefined);
    await rig.addImage(tars.slice(0, 1));
  }
  assert.throws(() => chosen('overlayfs'), {
    reason: 'SNAPSHOTTER_DIFFERS',
    message: /kept with the snapshotter native/,
  });
  assert.equal(chosen(), 'native');
  rmSync(join(root, 'snapshotter'));
  assert.throws(() => chosen('native'), { reason: 'SNAPSHOTTER_DIFFERS' }, 'roots from before there was a choice');
  writeFileSync(join(root, 'snapshotter'), 'zfs\n');
  assert.throws(() => chosen(), { reason: 'SNAPSHOTTER_UNKNOWN', message: /"zfs"/ });
});

test('on a file system that overlayfs refuses, a new root is native, and says why', { skip: noRoot }, () => {
  const [lower, at] = [rootOf('lower'), rootOf('overlay')];
  for (const path of [lower, at, rootOf('upper'), rootOf('work')]) mkdirSync(path);
  const options = `lowerdir=${lower},upperdir=${rootOf('upper')},workdir=${rootOf('work')}`;
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, at]);
  try {
    const { snapshotter, because } = chooseSnapshotter(at, undefined);
    assert.equal(snapshotter.name, 'native');
    assert.match(because, /overlayfs cannot be used/);
    assert.deepEqual(readdirSync(at), ['snapshotter']);
    assert.throws(() => chooseSnapshotter(at, 'overlayfs'), { reason: 'SNAPSHOTTER_UNUSABLE' });
  } finally {
    execFileSync('umount', [at]);
  }
});
