import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { storedEvents } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const run = (...args: readonly string[]) => engine.ok('run', '--rm', '--network', 'none', ...args);
const sh = (script: string) => [demoImage, 'busybox', 'sh', '-c', script];
const mountedVolumes = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(join(engine.folders.root, 'image/volumes')));

test('volumes are made, listed and shown as Docker does', async () => {
  const options = ['--opt', 'type=tmpfs', '--opt', 'device=tmpfs', '--opt', 'o=size=64k'];
  assert.equal(await engine.ok('volume', 'create', '--label', 'b=2', '--label', 'a', ...options, 'shown'), 'shown');
  assert.equal(await engine.ok('volume', 'ls'), 'DRIVER    VOLUME NAME\nlocal     shown');
  assert.equal(await engine.ok('volume', 'ls', '--quiet', '--filter', 'dangling=false'), '');
  assert.equal(
    await engine.ok('volume', 'ls', '--format', '{{.Name}} {{.Labels}} {{.Scope}} {{.Size}}'),
    'shown b=2,a= local N/A',
  );
  const [{ CreatedAt, ...shown }] = JSON.parse(await engine.ok('volume', 'inspect', 'shown')) as [
    Record<string, unknown>,
  ];
  assert.match(String(CreatedAt), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.deepEqual(shown, {
    Driver: 'local',
    Labels: { a: '', b: '2' },
    Mountpoint: join(engine.folders.root, 'image/volumes/shown/_data'),
    Name: 'shown',
    Options: { device: 'tmpfs', o: 'size=64k', type: 'tmpfs' },
    Scope: 'local',
  });
  const refused = await engine.flotilla(['volume', 'create', '--opt', 'type=tmpfs']);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /options\.device must be given/);
  assert.equal(await engine.ok('volume', 'rm', 'shown'), 'shown');
});

test('a volume in memory is shared, outlives killed services, and goes with the last container', async () => {
  const mount = 'src=memory,dst=/data,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=64k,uid=7"';
  const first = await engine.ok('run', '-d', '--mount', mount, ...sh('echo kept > /data/file; exec sleep 600'));
  const second = await engine.ok('run', '-d', '-v', 'memory:/data:ro', demoImage, 'busybox', 'sleep', '600');
  const read = () => engine.ok('exec', second, 'busybox', 'cat', '/data/file');
  assert.equal(
    await waitFor(
      'the file',
      async () => (await engine.flotilla(['exec', second, 'busybox', 'test', '-s', '/data/file'])).code === 0 && read(),
    ),
    'kept',
  );
  assert.equal(mountedVolumes().length, 1);
  await engine.killAndAwait('image', 'supervisor');
  await engine.ok('rm', '--force', first);
  assert.equal(await read(), 'kept');
  assert.match((await engine.flotilla(['volume', 'rm', 'memory'])).stderr, /volume memory is used by container/);
  await engine.ok('rm', '--force', second);
  assert.deepEqual(mountedVolumes(), []);
  await engine.ok('volume', 'rm', 'memory');
  const seen = await waitFor('the end of the volume', async () => {
    const events = (await storedEvents(engine)).filter(({ actorId }) => actorId === 'memory');
    return events.at(-1)?.action === 'destroy' && events;
  });
  const words = seen.map(({ action, attributes = {} }) =>
    `${action} ${attributes.container?.slice(0, 12) ?? ''}`.trim(),
  );
  const [one, two] = [first.slice(0, 12), second.slice(0, 12)];
  assert.deepEqual(words, ['create', `mount ${one}`, `mount ${two}`, `unmount ${one}`, `unmount ${two}`, 'destroy']);
  const { container: _, ...attributes } = seen[2]?.attributes ?? {};
  assert.deepEqual(attributes, { destination: '/data', driver: 'local', propagation: '', 'read/write': 'false' });
});

test('parts of volumes, other containers’ volumes, sources that are missing, mounts that travel', async () => {
  await run('-v', 'whole:/data', ...sh('mkdir -p /data/part; echo part > /data/part/file; ln -s /etc /data/out'));
  assert.equal(
    await run(
      '--mount',
      'src=whole,dst=/m,volume-subpath=part,ro',
      ...sh('cat /m/file; touch /m/x 2>&1 | grep -c Read-only'),
    ),
    'part\n1',
  );
  const out = await engine.flotilla(['run', '--rm', '--mount', 'src=whole,dst=/m,volume-subpath=out', ...sh('ls /m')]);
  assert.match(out.stderr, /leads out of the volume/);

  // A container that does not run is copied into with its volumes as it would have them.
  const options = ['--volume', 'held:/held', '--mount', 'src=whole,dst=/m,volume-subpath=part'];
  const bind = ['--opt', 'type=none', '--opt', 'o=bind', '--opt', `device=${engine.folders.folder}`];
  await engine.ok('volume', 'create', ...bind, 'held');
  const idle = await engine.ok('create', ...options, demoImage, 'true');
  await engine.ok('cp', join(engine.folders.root, 'image/volumes/whole/_data/part/file'), `${idle}:/m/copied`);
  await engine.ok('cp', join(engine.folders.root, 'image/volumes/whole/_data/part/file'), `${idle}:/held/copied`);
  assert.equal(readFileSync(join(engine.folders.root, 'image/volumes/whole/_data/part/copied'), 'utf8'), 'part\n');
  assert.equal(readFileSync(join(engine.folders.folder, 'copied'), 'utf8'), 'part\n');
  assert.deepEqual(mountedVolumes(), []);
  await engine.ok('rm', idle);
  await engine.ok('volume', 'rm', 'held');

  const donor = await engine.ok('create', '-v', 'whole:/data', '-v', '/anonymous', demoImage, 'true');
  const inherited = await run(
    '--volumes-from',
    `${donor}:ro`,
    ...sh('cat /data/part/file; touch /data/x /anonymous/x 2>&1 | grep -c Read-only'),
  );
  assert.equal(inherited, 'part\n2');
  await engine.ok('rm', '--volumes', donor);
  assert.equal(await engine.ok('volume', 'ls', '--quiet'), 'whole');

  const folder = join(engine.folders.folder, 'host');
  assert.match(
    (await engine.flotilla(['run', '--rm', '--mount', `type=bind,src=${folder},dst=/h`, ...sh('true')])).stderr,
    /exists on the host/,
  );
  await run('-v', `${folder}:/h`, ...sh('touch /h/made'));
  assert.ok(existsSync(join(folder, 'made')));
  execFileSync('mount', ['-t', 'tmpfs', 'host', folder]);
  try {
    execFileSync('mount', ['--make-private', folder]);
    const shared = [
      'run',
      '--rm',
      '--privileged',
      '--network',
      'none',
      '-v',
      `${folder}:/h:rshared`,
      ...sh('mkdir /h/in && mount -t tmpfs in /h/in && echo up > /h/in/file'),
    ];
    assert.match(
      (await engine.flotilla(shared)).stderr,
      new RegExp(`path ${folder} is mounted on ${folder} but it is not a shared mount`),
    );
    execFileSync('mount', ['--make-shared', folder]);
    await engine.ok(...shared);
    assert.equal(readFileSync(join(folder, 'in/file'), 'utf8'), 'up\n');
    execFileSync('umount', [join(folder, 'in')]);
  } finally {
    execFileSync('umount', ['--recursive', folder]);
  }
});
