import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isFrozen } from '../harness/cgroups.ts';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const work = `mkdir -p /made/in; echo text > /made/in/file; ln /made/in/file /made/hard; rm /bin/cat; rm -r /www; mkdir /www
  chmod 700 /tmp; echo more >> /etc/passwd; while :; do echo; sleep 0.1; done`;

async function runWork(name: string): Promise<string> {
  const id = await engine.ok(
    'run',
    '--detach',
    '--name',
    name,
    '--env',
    'B=2',
    '--volume',
    '/anonymous',
    demoImage,
    'sh',
    '-c',
    work,
  );
  await waitFor('the container has done its work', async () => (await engine.ok('logs', name)).includes('\n'));
  return id;
}

test('diff, commit and export of a container that runs, and of one that does not', async () => {
  await runWork('running');
  const changed = (await engine.ok('diff', 'running')).split('\n');
  for (const line of [
    'A /made',
    'A /made/in/file',
    'D /bin/cat',
    'C /bin',
    'C /tmp',
    'C /etc/passwd',
    'A /anonymous',
  ]) {
    assert.ok(changed.includes(line), `${line} is not in ${changed.join()}`);
  }
  assert.ok(!changed.some((line) => /hosts|hostname|resolv|\/proc|\/dev|\/sys/.test(line)), changed.join());

  const changes = ['--change', 'ENV C=$B', '--change', 'LABEL made=here', '--change', 'CMD ["sh", "-c", "echo $C"]'];
  const id = await engine.ok('commit', '--message', 'why', '--author', 'who', ...changes, 'running', 'made:1');
  assert.deepEqual(
    (await actionsOf(engine, await engine.ok('inspect', '--format', '{{.containerId}}', 'running'), 'commit')).slice(
      -3,
    ),
    ['pause', 'unpause', 'commit'],
  );
  const [image] = JSON.parse(await engine.ok('inspect', 'made:1'));
  assert.deepEqual([image.imageId, image.author, image.comment], [id, 'who', 'why']);
  assert.match(await engine.ok('history', '--no-trunc', 'made:1'), /sh -c mkdir -p \/made.* why$/ms);
  assert.equal(await engine.ok('run', '--rm', 'made:1'), '2');
  const look = 'busybox cat /made/hard; ls /www; ls /bin/cat 2>&1; stat -c %a /tmp; tail -n 1 /etc/passwd';
  const seen = await engine.flotilla(['run', '--rm', 'made:1', 'sh', '-c', look]);
  assert.equal(seen.stdout, 'text\nls: /bin/cat: No such file or directory\n700\nmore\n');

  await engine.ok('kill', 'running');
  await engine.ok('wait', 'running');
  const stopped = await engine.ok('commit', 'running', 'made:1');
  assert.notEqual(stopped, id);
  assert.equal(JSON.parse(await engine.ok('inspect', id))[0].references.length, 0, 'the name is the new one’s');
  const tar = join(engine.folders.folder, 'root.tar');
  await engine.ok('export', '--output', tar, 'running');
  const names = execFileSync('tar', ['--exclude=bin/*', '-tvf', tar]).toString();
  assert.match(names, /made\/hard\n.*made\/in\/\n.*made\/in\/file link to made\/hard/);
  assert.doesNotMatch(names, /etc\/\.|bin\/cat/);
  const piped = execFileSync('sh', ['-ec', `${engine.commandLine('export', 'running')} | cmp - ${tar}`], {
    env: engine.env,
  });
  assert.equal(piped.toString(), '');
  await engine.ok('rm', 'running');
});

const refused: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [['commit', 'idle', 'UPPER:1'], /reference/],
  [['commit', '--change', 'RUN x', 'idle'], /changes/],
  [['commit', 'nobody'], /no such container: nobody/],
  [['diff', 'nobody'], /no such container: nobody/],
  [['export', '--output', '/nowhere/x.tar', 'idle'], /nowhere\/x.tar.* cannot be written/],
  [['export', '--output', '/tmp/not-made.tar', 'nobody'], /no such container: nobody/],
];
test('what cannot be done is refused, and nothing is left of it', async () => {
  await engine.ok('create', '--name', 'idle', demoImage);
  for (const [args, message] of refused) {
    const { code, stderr } = await engine.flotilla(args);
    assert.notEqual(code, 0, args.join(' '));
    assert.match(stderr, message);
  }
  assert.ok(!existsSync('/tmp/not-made.tar'));
  assert.equal(await engine.ok('diff', 'idle'), '');
  const id = await engine.ok('commit', 'idle');
  const [image] = JSON.parse(await engine.ok('inspect', id));
  const [base] = JSON.parse(await engine.ok('inspect', demoImage));
  assert.deepEqual(image.diffIds, base.diffIds, 'without changes there is no layer');
  await engine.ok('rm', 'idle');
});

test('killed in the middle of a commit, image service or supervisor: the container runs on, and nothing is left', async () => {
  const id = await runWork('chased');
  await engine.ok(
    'exec',
    'chased',
    'sh',
    '-c',
    'for i in $(seq 40); do dd if=/dev/urandom of=/r$i bs=1M count=1; done',
  );
  const kept = () =>
    ['content/blobs/sha256', 'content/ingest'].map(
      (path) => readdirSync(join(engine.folders.root, 'image', path)).length,
    );
  const before = kept();
  for (const victim of ['supervisor', 'image'] as const) {
    const committing = engine.flotilla(['commit', 'chased']);
    // Killed before the image service has the call, it would find the next process.
    for (let i = 0; !(isFrozen(engine, id) && kept()[1]! > 0); i++) {
      assert.ok(i < 20_000, 'its files are not read');
      await sleep(1);
    }
    await engine.killAndAwait(victim);
    const { code } = await committing;
    assert.notEqual(code, 0, `the commit outlived the ${victim}`);
    await waitFor('it is thawed', () => !isFrozen(engine, id));
    await waitFor('that is told', async () => (await engine.status(id)).state === 'running');
  }
  await waitFor('the image service has cleared away', () => kept().join() === before.join());
  const image = await engine.ok('commit', 'chased');
  assert.equal((await engine.flotilla(['run', '--rm', image, 'sh', '-c', 'ls -d /r[0-9]* | wc -l'])).stdout, '40\n');
  await engine.ok('rm', '--force', 'chased');
});
