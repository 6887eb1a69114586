import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GrpcClient } from '../../harness/grpc-client.ts';
import { wrongHistory } from './check-history.ts';
import { containersOf, type Known, type Life, logLine, type Report } from './record.ts';
import { listContainers, type Seen } from './seen.ts';

/** All that is to be restarted is restarted, in an emulated processor, within so many milliseconds. */
const settledWithinMs = 240_000;
/** Images whose content is looked at from within a container. */
const imagesRun = 3;

/** What is wrong with the engine after a boot, compared with the record; empty when all is right. */
export async function check(client: GrpcClient, root: string, reports: readonly Report[]): Promise<readonly string[]> {
  const wrong = [...wrongDatabases(root), ...wrongBlobs(root)];
  const known = containersOf(reports);
  const deadline = performance.now() + settledWithinMs;
  for (;;) {
    const seen = await listContainers(client);
    const late = [...wrongContainers(known, seen), ...(await wrongHistory(client, reports, known, seen))];
    if (late.length === 0) break;
    if (performance.now() > deadline) {
      wrong.push(...late);
      break;
    }
    await sleep(1_000);
  }
  return [...wrong, ...(await wrongLogs(client, known)), ...(await wrongImages(client, reports))];
}

function wrongDatabases(root: string): string[] {
  return ['supervisor/supervisor.db', 'image/image.db', 'network.db'].flatMap((name) => {
    using database = new DatabaseSync(join(root, name), { readOnly: true });
    const rows = database.prepare('PRAGMA integrity_check').all() as { integrity_check: string }[];
    return rows.filter((row) => row.integrity_check !== 'ok').map((row) => `${name}: ${row.integrity_check}`);
  });
}

function wrongBlobs(root: string): string[] {
  const folder = join(root, 'image/content/blobs/sha256');
  return readdirSync(folder)
    .filter(
      (name) =>
        createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex') !== name,
    )
    .map((name) => `blob ${name} holds something else`);
}

function wrongContainers(known: ReadonlyMap<string, Known>, seen: ReadonlyMap<string, Seen>): string[] {
  const wrong: string[] = [];
  for (const one of known.values()) {
    const found = seen.get(one.name);
    const fits = [one.life, one.maybe].some((life) => life !== undefined && isLike(one, life, found));
    const state = found === undefined ? 'not there' : JSON.stringify(found.status);
    if (!fits) wrong.push(`${one.name} (${one.policy}), ${one.life}, perhaps ${one.maybe}: ${state}`);
    if (found !== undefined && one.id !== undefined && found.container_id !== one.id)
      wrong.push(`${one.name}: other id`);
  }
  for (const name of seen.keys()) if (!known.has(name) && name.includes('-')) wrong.push(`${name}: nobody made it`);
  return wrong;
}

/** Whether a container looks, after a boot of the host, as its life and its policy want it. */
function isLike({ policy, exitCode }: Known, life: Life, seen: Seen | undefined): boolean {
  if (life === 'asked' || life === 'removed' || seen === undefined) {
    return (life === 'asked' || life === 'removed') && seen === undefined;
  }
  const { state, exit_code: code, error } = seen.status;
  if (life === 'created') return state === 'CONTAINER_STATE_CREATED';
  const exited = state === 'CONTAINER_STATE_EXITED';
  if (life === 'ended') return exited && code === exitCode;
  // Its own end, unless the power was cut before it.
  const lost = exited && code === 255 && error !== '';
  if (exitCode !== undefined) return lost || (exited && code === exitCode);
  if (policy === 'no') return life === 'stopped' ? exited && code === 137 : lost;
  if (policy === 'unless-stopped' && life === 'stopped') return exited && code === 137;
  return state === 'CONTAINER_STATE_RUNNING';
}

/** Which life it is, of one whose last call was cut off. */
export function lifeOf(one: Known, seen: Seen | undefined): Life {
  const lives: readonly Life[] = [one.maybe ?? one.life, one.life];
  return lives.find((life) => isLike(one, life, seen)) ?? one.life;
}

/** Lines may be lost, and none may be half or another. */
async function wrongLogs(client: GrpcClient, known: ReadonlyMap<string, Known>): Promise<string[]> {
  const wrong: string[] = [];
  const lasting = [...known.values()].filter(
    ({ exitCode, starts, life }) => exitCode === undefined && starts > 0 && life !== 'removed',
  );
  for (const { name, maybe } of lasting) {
    if (maybe === 'removed') continue;
    const request = { container: name, stdout: true, stderr: true };
    for await (const { data } of client.stream('ContainerService', 'StreamLogs', request)) {
      if (String(data) !== `${logLine}\n`)
        wrong.push(`${name} is said to have written ${JSON.stringify(String(data))}`);
    }
  }
  return wrong;
}

async function wrongImages(client: GrpcClient, reports: readonly Report[]): Promise<string[]> {
  const { images } = await client.call('ImageService', 'ListImages', { dangling: true });
  const owners = new Map<string, string>();
  for (const { image_id: id, references } of images as { image_id: string; references: string[] }[]) {
    for (const reference of references) owners.set(reference, id);
  }
  const { volumes } = await client.call('VolumeService', 'ListVolumes', {});
  const volumeNames = new Set((volumes as { name: string }[]).map(({ name }) => name));
  const wrong: string[] = [];
  const wanted = new Map<string, string>();
  const contents = new Map<string, string>();
  for (const report of reports) {
    if (report.kind !== 'ask' && report.kind !== 'done') continue;
    const { kind, step } = report;
    // From the moment when it was asked to go it may be gone; its name is not used again.
    if (step.op === 'untag') wanted.delete(step.reference);
    if (kind === 'done' && step.op === 'volume' && !volumeNames.has(step.name))
      wrong.push(`volume ${step.name} is lost`);
    if (kind !== 'done' || (step.op !== 'import' && step.op !== 'tag')) continue;
    wanted.set(step.reference, step.imageId ?? '');
    if (step.op === 'import') contents.set(step.reference, step.random);
  }
  for (const [reference, id] of wanted) {
    if (owners.get(reference) !== id) wrong.push(`image ${reference} is ${owners.get(reference) ?? 'lost'}`);
  }
  const run = [...contents].filter(([reference]) => wanted.has(reference)).slice(-imagesRun);
  for (const [reference, random] of run) {
    const found = await hashInContainer(client, reference);
    if (found !== random) wrong.push(`image ${reference}: /random has ${found || 'no'} digest, not ${random}`);
  }
  return wrong;
}

/** Of /random in an image, told by a container of it. */
async function hashInContainer(client: GrpcClient, image: string): Promise<string> {
  const config = { image, command: ['sha256sum', '/random'], network_mode: 'none' };
  const { container_id: container } = await client.call('ContainerService', 'CreateContainer', { config });
  await client.call('ContainerService', 'StartContainer', { container });
  await client.call('ContainerService', 'WaitContainer', { container });
  let text = '';
  const request = { container, stdout: true, stderr: true };
  for await (const { data } of client.stream('ContainerService', 'StreamLogs', request)) text += String(data);
  await client.call('ContainerService', 'RemoveContainer', { container });
  if (!/^[0-9a-f]{64} /.test(text)) process.stdout.write(`sha256sum said: ${text}\n`);
  return text.split(' ')[0] ?? '';
}
