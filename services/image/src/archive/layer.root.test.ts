import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openLayers } from '../adapters/snapshot-store.ts';
import { defaultUnpackLimits } from '../unpack/limits.ts';
import { unpackStream } from '../unpack/unpack-stream.ts';
import type { ChangedTree } from './changed-files.ts';
import { listChanges } from './list-changes.ts';
import { runTreeJob } from './tree-job.ts';

// Overlays mounted by the kernel; layers read by our own unpacker, by umoci and by tar.
const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts and makes devices: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-layer-'));
const at = (name: string) => join(folder, name);
const run = (script: string, cwd = folder) =>
  execFileSync('sh', ['-ec', script], { cwd, stdio: ['ignore', 'pipe', 'pipe'] }).toString();

const lowerScript = `mkdir -p bin etc data/sub/deep data/gone data/moved tmp old; echo base > etc/passwd
  cp /bin/busybox bin/busybox; ln bin/busybox bin/sh; echo a > data/a; echo b > data/sub/b; echo c > data/sub/deep/c
  echo k > data/keep; echo d > data/gone/d; echo m > data/moved/m; ln -s a data/link; echo f > old/f
  echo same > same; chmod 1777 tmp; find . -exec touch -h -d @1600000000 {} +`;

/** What a container does: each thing that a layer must be able to say. */
const changeScript = `rm data/a; rm -r data/gone; rm -r data/sub; mkdir data/sub; echo n > data/sub/n; mkdir data/sub/deep
  rm -r old; echo now-a-file > old; rm data/link; mkdir data/link; echo in > data/link/in
  echo more >> etc/passwd; chmod 4755 bin/busybox; ln bin/busybox bin/third; chmod 700 tmp; chown 7:8 data/keep
  touch -d @1700000000.123456789 data/keep; touch -d @-5 before-epoch; touch -d @5000000000 far
  mkdir -p new/dir; echo x > new/dir/x; setfattr -n user.k -v 'v a l' new/dir/x; setfattr -n user.d -v w new/dir
  cp /bin/busybox new/cap; setcap cap_net_raw,cap_sys_admin,cap_mac_admin+ep new/cap
  mknod new/null c 1 3; mknod new/disk b 7 300; mkfifo new/fifo; ln -s /nowhere/at/all new/symlink
  truncate -s 3M new/sparse; printf end >> new/sparse; head -c 2500000 /dev/zero | tr '\\0' x > new/big; : > new/empty
  chown 3000000:4000000 new/empty; mkdir new/'ümläut ✓'; echo u > "new/ümläut ✓/日本"; chmod 600 same; chmod 644 same
  n=$(printf 'n%.0s' $(seq 1 90)); mkdir -p new/$n/$n; echo deep > new/$n/$n/$n; ln new/$n/$n/$n new/hard; ln -s $n/$n/$n new/$n/s
  python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("new/socket")'; : > etc/hosts; mkdir -p dev/pts`;
const mountPoints = ['/etc/hosts', '/etc/hostname', '/dev', '/dev/pts', '/proc'];

const expectedChanges = `D /data/a
D /data/gone
C /data
C /data/sub
D /data/sub/b
D /data/sub/deep/c
A /data/sub/n
C /data/sub/deep
C /old
C /data/link
A /data/link/in
C /etc
C /etc/passwd
C /bin
C /bin/busybox
A /bin/third
C /tmp
C /data/keep
A /before-epoch
A /far`.split('\n');

let tree: ChangedTree;
before(() => {
  if (skip !== false) return;
  for (const name of ['lower', 'upper', 'work', 'merged', 'scratch']) mkdirSync(at(name));
  run(lowerScript, at('lower'));
  run('mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged');
  run(changeScript, at('merged'));
  tree = {
    upper: openSync(at('upper'), constants.O_RDONLY | constants.O_DIRECTORY),
    merged: openLayers([at('upper'), at('lower')], at('scratch')),
    lower: openLayers([at('lower')], at('scratch')),
  };
});
after(() => {
  if (skip === false) {
    for (const fd of [tree?.upper, tree?.merged, tree?.lower]) if (fd !== undefined) closeSync(fd);
    run('umount merged || true');
  }
  rmSync(folder, { recursive: true, force: true });
});

/**
 * All that a tree is: modes, owners, times to the nanosecond, links, devices, attributes, content. Not how many names bin/sh
 * has: overlayfs counts the one that it parted it from when it copied that up.
 */
const describe = (path: string, leftOut = '') =>
  run(
    `find . -mindepth 1 ${leftOut} ! -type s \\( -type d -printf '%P %y %m %U %G %T@\\n' -o -printf '%P %y %m %U %G %T@ %l %n %s\\n' \\) | LC_ALL=C sort
     find . -type b -o -type c | LC_ALL=C sort | xargs -r stat -c '%n %t:%T'
     find . -type f ${leftOut} | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum; getfattr -R -h -d -m '^(user|security)' -e hex . | LC_ALL=C sort`,
    path,
  ).replace(/^(bin\/sh .*) \d (\d+)$/m, '$1 $2');
const notMountPoints = '! -path ./etc/hosts ! -path "./dev*"';

function write(kind: 'layer' | 'tree', name: string) {
  const output = openSync(at(name), 'w');
  try {
    const context = { onChanges: () => {}, checkStop: () => {} };
    if (kind === 'tree') return runTreeJob({ kind, folder: tree.merged, output }, context);
    return runTreeJob({ kind, tree, mountPoints, output, maxBytes: 1 << 30 }, context);
  } finally {
    closeSync(output);
  }
}

test('changes are told as Docker tells them; what the engine made to mount on is none', { skip }, () => {
  const letters = { added: 'A', modified: 'C', deleted: 'D' };
  const found = [...listChanges(tree, mountPoints)].map(({ kind, path }) => `${letters[kind]} ${path}`);
  const below = found.filter((line) => !line.startsWith('A /new'));
  assert.deepEqual(below.toSorted(), expectedChanges.toSorted());
  assert.ok(found.includes('A /new/ümläut ✓/日本'));
  assert.ok(found.indexOf('C /data') < found.indexOf('D /data/a'), 'a folder comes before what is in it');
});

test('a layer unpacked over its image is the tree that the container sees, to the nanosecond', { skip }, async () => {
  const { digest, sizeBytes, entries } = write('layer', 'layer.tar');
  assert.ok(sizeBytes > 5_500_000 && entries > 30);
  mkdirSync(at('unpacked'), { mode: 0o755 });
  const request = { blobPath: at('layer.tar'), directory: at('unpacked'), below: [at('lower')], layer: 'l' };
  const unpacked = await unpackStream({ ...request, limits: defaultUnpackLimits }, () => {});
  assert.equal(unpacked.diffId, digest);
  assert.equal(unpacked.entries, entries);
  const { blocks, size } = statSync(at('unpacked/new/sparse'));
  assert.ok(size === 3 * 2 ** 20 + 3 && blocks * 512 < 2 ** 20, `the hole takes ${blocks * 512} bytes`);
  run('mkdir again w2; mount -t overlay overlay -o lowerdir=unpacked:lower again');
  try {
    assert.equal(describe(at('again')), describe(at('merged'), notMountPoints));
  } finally {
    run('umount again');
  }
  assert.equal(write('layer', 'layer2.tar').digest, digest, 'the same files give the same bytes');
});

test('umoci unpacks the same layer to the same tree', { skip }, () => {
  write('layer', 'layer.tar');
  run(`tar -C lower -cf lower.tar --xattrs --sort=name --format=pax .
    umoci init --layout oci && umoci new --image oci:x; umoci raw add-layer --image oci:x lower.tar; umoci raw add-layer --image oci:x layer.tar
    umoci raw unpack --image oci:x bundle`);
  assert.equal(describe(at('bundle')), describe(at('merged'), notMountPoints));
});

test('all of a root as a tar is what tar(1) unpacks to the same tree', { skip }, () => {
  write('tree', 'tree.tar');
  run('mkdir tree; tar -C tree --xattrs --xattrs-include="*" --same-owner -xpf tree.tar');
  assert.equal(describe(at('tree')), describe(at('merged')));
  assert.doesNotMatch(run('tar tf tree.tar'), /socket/);
});

test('a name that a layer cannot have is refused', { skip }, () => {
  for (const [name, reason] of [
    ['.wh.x', 'LAYER_NAME_RESERVED'],
    ['$(printf "b\\377d")', 'FILE_NAME_INVALID'],
  ] as const) {
    run(`: > "upper/new/${name}"`);
    try {
      assert.throws(() => write('layer', 'refused.tar'), { reason }, reason);
      write('tree', 'odd.tar');
      assert.equal(run('tar tf odd.tar --quoting-style=escape | grep -c "wh.x\\|b.377d"').trim(), '1');
    } finally {
      run(`rm "upper/new/${name}"`);
    }
  }
});
