import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { defaultMountsFor, defaultSeccompProfile, toCapabilitySets } from './defaults/index.ts';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const names = ['CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE', 'CAP_CHOWN', 'CAP_FOWNER'];
const sh = (script: string): string[] => ['/bin/sh', '-c', script];

/** How binds travel, what part of a folder they are, and how far read-only goes: mount_namespaces(7), mount_setattr(2). */
describe('bind mounts', { skip: skipRoot }, () => {
  let root: TestRoot;
  let shared: string;
  let volume: string;
  before(() => {
    root = new TestRoot();
    shared = join(root.dir, 'shared');
    volume = join(root.dir, 'volume');
    mkdirSync(shared);
    execFileSync('mount', ['-t', 'tmpfs', 'shared', shared]);
    execFileSync('mount', ['--make-shared', shared]);
    for (const name of ['in', 'out']) mkdirSync(join(shared, name));
    execFileSync('mount', ['-t', 'tmpfs', 'out', join(shared, 'out')]);
    writeFileSync(join(shared, 'out/file'), 'of the host');
  });
  beforeEach(() => {
    rmSync(volume, { recursive: true, force: true });
    mkdirSync(join(volume, 'part/deep'), { recursive: true });
    writeFileSync(join(volume, 'part/file'), 'inside');
  });
  after(() => {
    for (const name of ['in', 'out', '']) {
      const path = join(shared, name);
      if (isMounted(path)) execFileSync('umount', [path]);
    }
    root[Symbol.dispose]();
  });

  const isMounted = (path: string) => execFileSync('cat', ['/proc/self/mountinfo']).includes(` ${path} `);
  const run = (
    script: string,
    { options, source = shared, ...rest }: { options: readonly string[]; source?: string; subpath?: string },
    rootfsPropagation = 'rprivate',
  ) =>
    root.run('fork', {
      args: sh(script),
      spec: { mounts: [...defaultMountsFor(), { destination: '/h', type: 'bind', source, options, ...rest }] },
      linux: { rootfsPropagation, seccomp: defaultSeccompProfile(names) },
      process: { capabilities: toCapabilitySets(names) },
    });

  test('a mount that a container makes in a shared one is the host’s too, and stays when it ends', async () => {
    const script = 'mount -t tmpfs in /h/in && echo of the container > /h/in/file';
    const result = await run(script, { options: ['rbind', 'rw', 'rshared'] }, 'shared');
    assert.equal(result.exitCode, 0, JSON.stringify(result));
    assert.ok(isMounted(join(shared, 'in')));
    assert.equal(execFileSync('cat', [join(shared, 'in/file')]).toString(), 'of the container\n');
    execFileSync('umount', [join(shared, 'in')]);
  });

  test('one that it makes in a slave or a private one is its own', async () => {
    for (const [options, propagation] of [
      [['rbind', 'rw', 'rslave'], 'rslave'],
      [['rbind', 'rw', 'rprivate'], 'rprivate'],
    ] as const) {
      const result = await run('mount -t tmpfs in /h/in && echo ok', { options }, propagation);
      assert.equal(result.stdout, 'ok\n', JSON.stringify(result));
      assert.ok(!isMounted(join(shared, 'in')), options[2]);
    }
  });

  for (const [mode, propagation, hears] of [
    ['rshared', 'shared', true],
    ['rslave', 'rslave', true],
    ['rprivate', 'rprivate', false],
  ] as const) {
    test(`a mount that the host makes is ${hears ? '' : 'not '}seen through a bind that is ${mode}`, async () => {
      const signs = join(root.dir, 'signs');
      mkdirSync(signs);
      // Outside: once the container says that it runs.
      const script = `while ! test -e ${signs}/up; do sleep 0.05; done; mount -t tmpfs in ${shared}/in; echo seen > ${shared}/in/file; touch ${signs}/done`;
      const host = spawn('sh', ['-ec', script], { stdio: 'ignore' });
      const ended = new Promise((resolve) => host.once('exit', resolve));
      try {
        const result = await root.run('fork', {
          args: sh('touch /signs/up; while ! test -e /signs/done; do sleep 0.05; done; cat /h/in/file || echo nothing'),
          spec: {
            mounts: [
              ...defaultMountsFor(),
              { destination: '/h', type: 'bind', source: shared, options: ['rbind', mode] },
              { destination: '/signs', type: 'bind', source: signs, options: ['rbind', 'rprivate'] },
            ],
          },
          linux: { rootfsPropagation: propagation },
        });
        assert.equal(result.stdout, hears ? 'seen\n' : 'nothing\n', JSON.stringify(result));
      } finally {
        host.kill();
        await ended;
        if (isMounted(join(shared, 'in'))) execFileSync('umount', [join(shared, 'in')]);
        rmSync(signs, { recursive: true });
      }
    });
  }

  test('read-only reaches what is mounted below, if asked; without recursion that is not there', async () => {
    const write = 'echo x > /h/top; echo x > /h/out/below; cat /h/out/file';
    const rro = await run(write, { options: ['rbind', 'ro', 'rro', 'rprivate'] });
    assert.equal(rro.stderr.match(/Read-only file system/g)?.length, 2, JSON.stringify(rro));
    const ro = await run(write, { options: ['rbind', 'ro', 'rprivate'] });
    assert.equal(ro.stderr.match(/Read-only file system/g)?.length, 1, JSON.stringify(ro));
    assert.equal(ro.stdout, 'of the host');
    const flat = await run('cat /h/out/file', { options: ['bind', 'rw', 'rprivate'] });
    assert.match(flat.stderr, /No such file/);
  });

  test('a part of a folder, or a file of it, is bound; links may lead within it', async () => {
    symlinkSync('part', join(volume, 'link'));
    const options = ['rbind', 'rw', 'rprivate'];
    for (const subpath of ['part', 'link', 'part/./']) {
      const result = await run('cat /h/file', { source: volume, subpath, options });
      assert.equal(result.stdout, 'inside', `${subpath}: ${JSON.stringify(result)}`);
    }
    const file = await run('cat /h', { source: volume, subpath: 'part/file', options });
    assert.equal(file.stdout, 'inside', JSON.stringify(file));
  });

  test('a part that leads out of the folder is refused, whatever the link', async () => {
    const secret = join(root.dir, 'secret');
    mkdirSync(secret, { recursive: true });
    for (const target of [secret, '../secret', 'part/../../secret', '/', '/proc/self/root', '/proc/1/cwd']) {
      symlinkSync(target, join(volume, 'out'));
      const result = await run('true', { source: volume, subpath: 'out', options: ['rbind', 'rprivate'] });
      assert.equal(result.error?.reason, 'ROOTFS_UNSAFE', `${target}: ${JSON.stringify(result)}`);
      rmSync(join(volume, 'out'));
    }
    for (const subpath of ['../secret', '/etc']) {
      const result = await run('true', { source: volume, subpath, options: ['rbind', 'rprivate'] });
      assert.equal(result.error?.reason, 'INVALID_FIELD', JSON.stringify(result));
    }
    const none = await run('true', { source: volume, subpath: 'none', options: ['rbind', 'rprivate'] });
    assert.match(none.error?.message ?? '', /there is nothing of that name/);
  });

  test('a part that is swapped for a link meanwhile is what it was, or refused: never what the link leads to', async () => {
    const secret = join(root.dir, 'secret');
    mkdirSync(secret, { recursive: true });
    writeFileSync(join(secret, 'secret'), '');
    symlinkSync(secret, join(volume, 'evil'));
    let swaps = 0;
    const [part, evil, spare] = ['part', 'evil', 'spare'].map((name) => join(volume, name)) as [string, string, string];
    const swapping = setInterval(() => {
      for (let i = 0; i < 20; i++) {
        renameSync(part, spare);
        renameSync(evil, part);
        renameSync(part, evil);
        renameSync(spare, part);
        swaps++;
      }
    }, 1);
    try {
      for (let i = 0; i < 8; i++) {
        const result = await run('ls /h', { source: volume, subpath: 'part', options: ['rbind', 'rprivate'] });
        if (result.error !== undefined) assert.equal(result.error.reason, 'ROOTFS_UNSAFE', JSON.stringify(result));
        else assert.equal(result.stdout, 'deep\nfile\n', JSON.stringify(result));
      }
    } finally {
      clearInterval(swapping);
    }
    assert.ok(swaps > 100, `only ${swaps} swaps`);
    assert.ok(existsSync(join(secret, 'secret')));
  });
});
