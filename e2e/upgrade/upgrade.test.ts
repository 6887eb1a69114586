import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { ReleaseFolder } from '../harness/release.ts';
import { waitFor } from '../harness/wait.ts';
import { Load } from './load.ts';

let engine: Engine;
let release: ReleaseFolder;
let load: Load;
let witness: { readonly id: string; readonly initPid: number };
const clients = 8;

before(async () => {
  release = ReleaseFolder.ofWorkingTree();
  engine = await Engine.start();
  const id = await engine.ok(
    'run',
    '--detach',
    '--tty',
    demoImage,
    'sh',
    '-c',
    'i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done',
  );
  witness = { id, initPid: (await engine.status(id)).initPid };
  load = new Load(join(engine.folders.run, 'api.sock'), demoImage, 'bridge');
});
after(async () => {
  await load.stop();
  await engine[Symbol.asyncDispose]();
  release[Symbol.dispose]();
});

/** The release whose code a process runs. */
function runsIn(pid: number | undefined, dir: string): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${dir}/`);
}

/** Waits until the load has gone on for some rounds. */
async function loadGoesOn(): Promise<void> {
  const reached = load.rounds + clients;
  await waitFor('clients go on', () => load.rounds >= reached, 60_000);
}

/** Replaces a text of a file of the release; whoever changes it back may. */
function edit(file: string, from: string, to: string): () => void {
  const path = join(release.dir, file);
  const before = readFileSync(path, 'utf8');
  assert.ok(before.includes(from), `${file} has ${from}`);
  writeFileSync(path, before.replace(from, to));
  return () => writeFileSync(path, before);
}

test('every process is replaced by that of another release while clients never pause', async () => {
  load.start(clients);
  await loadGoesOn();
  const upgraded = await engine.flotilla(['service', 'upgrade', '--all', '--release', release.dir]);
  assert.equal(upgraded.stderr, '');
  assert.equal(upgraded.code, 0, upgraded.stdout);
  for (const name of ['image', 'network', 'launcher', 'supervisor', 'api', 'keeper'] as const) {
    assert.ok(runsIn(engine.pid(name), release.dir), `${name} is the new release's`);
  }
  await engine.healthy();
  await loadGoesOn();
  const { shimPid, initPid } = await engine.status(witness.id);
  assert.equal(initPid, witness.initPid);
  assert.ok(upgraded.stdout.includes(`has shim ${shimPid} instead of`), upgraded.stdout);
});

test('a release whose code does not load costs nothing: the old process goes on', async () => {
  const restore = edit('services/supervisor/src/main.ts', 'await terminated;', 'await terminated; this is no program');
  const pid = engine.pid('supervisor');
  const refused = await engine.flotilla(['service', 'upgrade', 'supervisor', '--release', release.dir]);
  restore();
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /supervisor was not upgraded: .*the old one goes on/);
  assert.equal(engine.pid('supervisor'), pid);
});

test('a release that loads but does not come up is rolled back', async () => {
  await engine.ok('service', 'upgrade', 'image');
  const restore = edit('services/image/src/main.ts', 'publisher.start();', "throw new Error('no luck');");
  const refused = await engine.flotilla(['service', 'upgrade', 'image', '--release', release.dir]);
  restore();
  assert.equal(refused.code, 1);
  assert.equal(runsIn(engine.pid('image'), release.dir), false);
  assert.match(refused.stderr, /image was not upgraded: .*did not become healthy.*the old release runs again/);
  await engine.healthy();
  await loadGoesOn();
});

test('a release that is older than the database is refused, and says what to do', async () => {
  edit('services/image/src/store/schema.ts', '\n];', "\n  'SELECT 1',\n];");
  const newer = await engine.flotilla(['service', 'upgrade', 'image', '--release', release.dir]);
  assert.equal(newer.code, 0, newer.stderr);
  const older = await engine.flotilla(['service', 'upgrade', 'image']);
  assert.equal(older.code, 1);
  assert.match(
    older.stderr,
    /image[.]db was written by a newer release \(schema \d+, this release knows \d+\): run that release.*the old one goes on/,
  );
  assert.ok(runsIn(engine.pid('image'), release.dir));
  await engine.healthy();
});

test('no call failed in all that, and the container of before has lost no output', async (t) => {
  await loadGoesOn();
  const { failures, calls, rounds, resumed, longest } = await load.stop();
  t.diagnostic(
    `${calls} calls in ${rounds} rounds, ${resumed} streams resumed, the longest: ${longest.method} ${longest.ms} ms`,
  );
  assert.deepEqual(failures, []);
  assert.equal((await engine.status(witness.id)).initPid, witness.initPid);
  const lines = (await engine.ok('logs', witness.id)).split(/\r?\n/);
  assert.deepEqual(
    lines.map(Number),
    lines.map((_, i) => i),
  );
});

test('what the keeper keeps outlives its own replacement: a terminal whose shim and launcher are killed at once', async () => {
  const { shimPid } = await engine.status(witness.id);
  process.kill(engine.pid('launcher') ?? 0, 'SIGKILL');
  process.kill(shimPid, 'SIGKILL');
  const another = async () => {
    const now = await engine.status(witness.id);
    return now.shimPid > 0 && now.shimPid !== shimPid && now.initPid === witness.initPid;
  };
  await waitFor('another shim has taken over', another, 60_000);
  assert.equal(await engine.ok('exec', witness.id, 'echo', 'here'), 'here');
});
