import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';

let engine: Engine;
let here: string;
before(async () => {
  engine = await Engine.start();
  here = mkdtempSync(join(engine.folders.folder, 'here-'));
  const made = `mkdir -p tree/sub to; echo text > tree/file; chmod 640 tree/file; chown 1234:2345 tree/file
    touch -d '2001-02-03 04:05:06' tree/file; ln tree/file tree/hard; ln -s file tree/link; echo deep > tree/sub/deep
    chmod 751 tree/sub; ln -s tree alias; echo colon > a:b; cp /bin/true able; setcap cap_net_raw+ep able`;
  execFileSync('sh', ['-ec', made], { cwd: here });
  const run = ['run', '--detach', '--network', 'none', '--name'];
  await engine.ok(...run, 'up', '--volume', 'data:/data', '--user', '7:8', demoImage, 'sleep', '1000');
  await engine.ok('create', '--name', 'down', '--network', 'none', demoImage, 'true');
  const sealed = ['--read-only', '--volume', 'data:/data:ro', demoImage, 'sleep', '1000'];
  await engine.ok(...run, 'sealed', ...sealed);
});
after(() => engine[Symbol.asyncDispose]());

const cp = (...args: string[]) => engine.flotilla(['cp', ...args], { cwd: here });

async function copied(...args: string[]): Promise<void> {
  const { code, stderr } = await cp(...args);
  assert.deepEqual([code, stderr], [0, '']);
}

/** What is in a tar that a copy gives, as GNU tar lists it. */
function listed(container: string, path: string): string {
  const line = `${engine.commandLine('cp', `${container}:${path}`, '-')} | tar --numeric-owner --utc --full-time -tvf -`;
  return execFileSync('sh', ['-ec', line], { env: engine.env }).toString();
}

for (const container of ['up', 'down']) {
  test(`a tree goes into a container that is ${container}, and comes back the same`, async () => {
    await copied('tree', `${container}:/new`);
    const list = listed(container, '/new');
    assert.match(list, /-rw-r----- 1234\/2345 +5 2001-02-03 04:05:06 +new\/file/);
    assert.match(list, /new\/hard link to new\/file/);
    assert.match(list, /new\/link -> file/);
    assert.match(list, /drwxr-x--x .* new\/sub\//);
    const to = `back-${container}`;
    await copied(`${container}:/new`, to);
    const [file, hard] = [statSync(join(here, to, 'file')), statSync(join(here, to, 'hard'))];
    assert.deepEqual([file.mode & 0o7777, file.mtimeMs, file.ino], [0o640, Date.UTC(2001, 1, 3, 4, 5, 6), hard.ino]);
    assert.equal(readlinkSync(join(here, to, 'link')), 'file');
    assert.equal(readFileSync(join(here, to, 'sub/deep'), 'utf8'), 'deep\n');
    await copied('tree', `${container}:/new`);
    assert.match(listed(container, '/new/tree'), / tree\/file/, 'into the folder that is there by now');
    await copied('tree/.', `${container}:/new/tree`);
    assert.doesNotMatch(listed(container, '/new/tree'), /tree\/tree/);
  });
}

test('links, colons, capabilities, owners and volumes', async () => {
  await copied('alias', 'up:/tmp/link');
  assert.match(listed('up', '/tmp/link'), /^l.* link -> tree/);
  await copied('-L', 'alias', 'up:/tmp/real');
  assert.match(listed('up', '/tmp/real'), /^d.* real\//);
  await copied('./a:b', 'up:/data/colon');
  await copied('up:/data/colon', './c:d');
  assert.equal(readFileSync(join(here, 'c:d'), 'utf8'), 'colon\n');
  await copied('-a', 'tree/file', 'up:/tmp/own');
  assert.match(listed('up', '/tmp/own'), / 7\/8 /);
  await copied('able', 'down:/able');
  const xattrs = `${engine.commandLine('cp', 'down:/able', '-')} | tar --xattrs -C to --xattrs-include='*' -xf - && getcap to/able`;
  assert.match(execFileSync('sh', ['-ec', xattrs], { cwd: here, env: engine.env }).toString(), /cap_net_raw/);
  symlinkSync('to', join(here, 'way'));
  await copied('up:/data/colon', 'way');
  assert.ok(lstatSync(join(here, 'way')).isSymbolicLink());
  assert.equal(readFileSync(join(here, 'to/colon'), 'utf8'), 'colon\n');
});

test('a tar on standard input, unpacked where a link in the container leads', async () => {
  mkdirSync(join(here, 'tar'));
  writeFileSync(join(here, 'tar/inside'), 'x');
  await engine.ok('exec', '--user', '0', 'up', 'sh', '-c', 'mkdir /target; ln -s ../../target /tmp/to');
  const input = execFileSync('tar', ['-C', join(here, 'tar'), '-cf', '-', '.']);
  const { code, stderr } = await engine.flotilla(['cp', '-', 'up:/tmp/to'], { input });
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(listed('up', '/target'), / target\/inside/);
});

/** As Docker 28's client says it, behind its own name. */
const refused: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [['none', 'up:/tmp'], /lstat .*none: no such file or directory/],
  [['up:/none', 'to'], /Could not find the file \/none in container up/],
  [['a:b', 'up:/tmp'], /copying between containers is not supported/],
  [['tree', 'to'], /must specify at least one container source/],
  [['up:/etc/passwd', 'no/out'], /invalid output path: directory ".*no" does not exist/],
  [['up:/etc/passwd', 'to/none/'], /(no such directory|does not exist)/],
  [['up:/etc', 'a:b/'], /copying between containers/],
  [['up:/etc', './a:b'], /cannot copy directory/],
  [['up:/etc/passwd', './a:b/'], /not a directory/],
  [['tree', 'up:/etc/passwd'], /cannot copy directory/],
  [['tree/file', 'up:/none/at/all'], /Could not find the file/],
  [['tree/file', 'sealed:/tmp'], /container rootfs is marked read-only/],
  [['tree/file', 'sealed:/data'], /mounted volume is marked read-only/],
  [['tree/file', 'nobody:/tmp'], /no such container: nobody/i],
];
test('what cannot be copied is refused, in words of its own', async () => {
  for (const [args, message] of refused) {
    const { code, stderr } = await cp(...args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, message);
  }
});
