import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { ReleaseFolder } from '../harness/release.ts';

// Any two services of this release and of the one before work together: each in turn is of the last tagged release, while
// the others are the working tree's; then all are but that one.
const tag = ReleaseFolder.lastTag();
const skip = tag === undefined ? 'no release is tagged yet: there is nothing older to run with' : false;
/** As the tests' names have it. */
const last = tag ?? 'the last release';
const names = ['image', 'network', 'launcher', 'supervisor', 'api'] as const;

let engine: Engine;
/** Whether the last release can be moved from, process by process. */
let canMove = false;
let older: ReleaseFolder;
before(async () => {
  if (tag === undefined) return;
  older = ReleaseFolder.ofTag(tag);
  canMove = existsSync(join(older.dir, 'deploy/release.json'));
  engine = await Engine.start({}, canMove ? older.dir : undefined);
});
after(async () => {
  if (tag === undefined) return;
  await engine[Symbol.asyncDispose]();
  older[Symbol.dispose]();
});

/** What people do most: run, look, exec, logs, stop, remove. */
async function useContainer(): Promise<void> {
  const script = 'trap "exit 5" TERM; echo begun; while :; do usleep 10000; done';
  const id = await engine.ok('run', '--detach', demoImage, 'sh', '-c', script);
  assert.equal(await engine.ok('exec', id, 'echo', 'here'), 'here');
  assert.equal(await engine.ok('logs', id), 'begun');
  assert.equal((await engine.status(id)).state, 'running');
  await engine.ok('stop', id);
  assert.equal((await engine.status(id)).exitCode, 5);
  await engine.ok('rm', id);
  assert.equal(await engine.ok('run', '--rm', demoImage, 'echo', 'whole'), 'whole');
}

async function moveTo(name: string, release: string | undefined): Promise<void> {
  const folder = release === undefined ? [] : ['--release', release];
  await engine.ok('service', 'upgrade', name, ...folder);
  const words = readFileSync(`/proc/${engine.pid(name as 'api')}/cmdline`, 'utf8');
  assert.equal(words.includes(older.dir), release !== undefined, `${name} runs ${words.replaceAll('\0', ' ')}`);
}

test(`an engine of ${last} is upgraded process by process, and works after each`, { skip }, async (t) => {
  if (!canMove)
    return t.skip(`processes of ${tag} cannot be replaced one by one: it says nothing of how they hand over`);
  await useContainer();
  for (const name of names) {
    await moveTo(name, undefined);
    await useContainer();
  }
});

for (const name of names) {
  test(`${name} of ${last} works with the others of this release`, { skip }, async () => {
    // A database only moves forward: an older release must refuse one that a newer has written, and this one be back.
    const moved = await engine.flotilla(['service', 'upgrade', name, '--release', older.dir]);
    if (moved.code !== 0) {
      assert.match(moved.stderr, /was written by a newer release|the old release runs again/);
      await engine.healthy();
      return;
    }
    await useContainer();
    await moveTo(name, undefined);
    await useContainer();
  });
}

test(`each of this release works with the others of ${last}`, { skip }, async () => {
  const there: string[] = [];
  for (const name of names) {
    if ((await engine.flotilla(['service', 'upgrade', name, '--release', older.dir])).code === 0) there.push(name);
  }
  for (const name of there) {
    await moveTo(name, undefined);
    await useContainer();
    await moveTo(name, older.dir);
  }
  await useContainer();
  for (const name of there) await moveTo(name, undefined);
  await useContainer();
});
