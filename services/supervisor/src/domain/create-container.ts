import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { type ContainerRecord, containerEvent, moveTo, newContainer, type ResolvedMount } from './container.ts';
import type { ContainerConfig, InheritedMount, MountConfig } from './container-config.ts';
import type { Engine } from './engine.ts';
import { findUser } from './find-user.ts';
import type { VolumeWish } from './ports.ts';
import { randomName } from './random-name.ts';
import { sandboxWish } from './sandbox.ts';
import { checkImageConfig, mergeArgs, mergeMounts, mergePorts } from './spec/merge-config.ts';
import { untilStored } from './until-stored.ts';
import { parseMode } from './validation/modes.ts';
import { checkContainerName } from './validation/names.ts';
import { validateConfig } from './validation/validate-config.ts';
import { inheritMounts } from './volumes-from.ts';

export interface CreateRequest {
  readonly config: ContainerConfig;
  /** Empty: one is made up. */
  readonly name: string;
  readonly idempotencyKey: string;
  /** The request as bytes: what an equal key must come with. */
  readonly bytes: Uint8Array;
}

const longestKey = 256;
const nameAttempts = 20;
/** With the deadline of a call to an owner, still less than the 10 s that callers usually wait. */
const undoMs = 1_000;

/** Records a container, prepares its snapshot and volumes. What was done is undone when a step fails. */
export async function createContainer(engine: Engine, request: CreateRequest): Promise<ContainerRecord> {
  const { queue, log } = engine;
  const earlier = findEarlier(engine, request);
  if (earlier !== undefined) return queue.run(earlier.containerId, async () => settled(engine, earlier.containerId));
  const warnings = validateConfig(request.config, engine.facts);
  const record = reserve(engine, request, warnings);
  const { containerId } = record;
  return queue.run(containerId, async () => {
    try {
      return await make(engine, record);
    } catch (error) {
      const undone = undoCreate(engine, containerId).catch((err: unknown) =>
        log.warn({ containerId, err }, 'what a failed create had made could not be removed; tried again later'),
      );
      // An owner that is away keeps the undoing waiting too; the caller must hear who is away while it still listens.
      await Promise.race([undone, sleep(undoMs, undefined, { ref: false })]);
      throw error;
    }
  });
}

/** What the call with the same key came to, once it is over. ABORTED / CREATE_FAILED. */
function settled({ repository }: Engine, containerId: string): ContainerRecord {
  const record = repository.get(containerId);
  if (record !== undefined && record.state !== 'creating') return record;
  throw new FlotillaError('aborted', 'the create call with this idempotency_key failed; send it again', {
    reason: 'CREATE_FAILED',
    metadata: { containerId },
  });
}

function findEarlier({ repository }: Engine, { idempotencyKey, bytes }: CreateRequest): ContainerRecord | undefined {
  if (idempotencyKey === '') return undefined;
  if (idempotencyKey.length > longestKey)
    throw invalidField('idempotency_key', `at most ${longestKey} characters long`);
  const earlier = repository.findByIdempotencyKey(idempotencyKey);
  if (earlier === undefined || earlier.requestDigest === digestOf(bytes)) return earlier;
  throw new FlotillaError('already_exists', 'idempotency_key was used with another request', {
    reason: 'IDEMPOTENCY_KEY_REUSED',
    metadata: { containerId: earlier.containerId },
  });
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Takes the name and writes the intent. ALREADY_EXISTS / CONTAINER_NAME_TAKEN. */
function reserve(engine: Engine, request: CreateRequest, warnings: readonly string[]): ContainerRecord {
  const { repository } = engine;
  const { config, idempotencyKey, bytes } = request;
  if (request.name !== '') checkContainerName(request.name);
  const taken = request.name === '' ? undefined : repository.findByName(request.name);
  if (taken !== undefined) throw nameTaken(request.name, taken.containerId);
  const containerId = randomBytes(32).toString('hex');
  const record = newContainer({
    containerId,
    name: request.name || freeName(engine),
    config,
    createdAtUnixNano: engine.now(),
    idempotencyKey,
    requestDigest: idempotencyKey === '' ? '' : digestOf(bytes),
    warnings,
    sandboxId: sandboxIdOf(engine, config, containerId),
  });
  repository.save({ container: record });
  return record;
}

/** ALREADY_EXISTS / CONTAINER_NAME_TAKEN. */
export function nameTaken(name: string, containerId: string): FlotillaError {
  return new FlotillaError('already_exists', `the name ${name} is taken by container ${containerId}`, {
    reason: 'CONTAINER_NAME_TAKEN',
    metadata: { name, containerId },
  });
}

function freeName({ repository }: Engine): string {
  for (let attempt = 0; attempt < nameAttempts; attempt++) {
    const name = randomName(attempt);
    if (repository.findByName(name) === undefined) return name;
  }
  return `container_${randomBytes(8).toString('hex')}`;
}

function sandboxIdOf({ repository }: Engine, config: ContainerConfig, containerId: string): string {
  const joined = (['networkMode', 'ipcMode', 'pidMode'] as const).map((key) => {
    const field = key.replace('Mode', '_mode');
    const mode = config[key].startsWith('container:') ? parseMode(config[key], field, ['container']) : undefined;
    return mode?.kind === 'container' ? repository.find(mode.container).containerId : undefined;
  });
  return joined[0] ?? containerId;
}

async function make(engine: Engine, record: ContainerRecord): Promise<ContainerRecord> {
  const { images, networks, repository } = engine;
  const { containerId, config } = record;
  const inherited = inheritMounts(engine, config);
  prepareHostPaths(engine, config);
  const { imageId, config: image } = await images.resolve(config.image);
  checkImageConfig(image);
  const args = mergeArgs(config, image);
  const draft = { ...record, made: { imageId, image, args, mounts: [] } };
  mergePorts(config, image);
  const wish = sandboxWish(draft);
  const [warnings] = await Promise.all([
    wish === undefined ? [] : networks.check(wish),
    images.prepareSnapshot(containerId, imageId),
  ]);
  await findUser(engine, draft, config.user || image.user, config.groupAdd);
  const mounts = await resolveMounts(engine, draft, inherited);
  const created = moveTo(draft, 'created', {
    made: { ...draft.made, mounts },
    warnings: [...record.warnings, ...warnings],
  });
  repository.save({ container: created, events: [containerEvent(created, 'create', engine.now())] });
  await repository.flush();
  return created;
}

function prepareHostPaths({ files }: Engine, config: ContainerConfig): void {
  files.devices(config.devices, false);
  for (const [index, { type, source, createSource }] of config.mounts.entries()) {
    if (type === 'MOUNT_TYPE_BIND') files.prepareBindSource(source, createSource, `mounts[${index}].source`);
  }
}

/** Gives every mount its path on the host; anonymous volumes get their names. */
async function resolveMounts(
  { images }: Engine,
  record: ContainerRecord,
  inherited: readonly InheritedMount[],
): Promise<ResolvedMount[]> {
  const mounts = mergeMounts(record.config, record.made!.image, inherited);
  const wishes = mounts.filter(({ type }) => type === 'MOUNT_TYPE_VOLUME');
  const volumes = wishes.length === 0 ? [] : await images.prepareVolumes(record.containerId, wishes.map(volumeWish));
  return mounts.map((resolving) => {
    const { inherited: _, ...mount } = { inherited: false, ...resolving };
    if (mount.type !== 'MOUNT_TYPE_VOLUME') return { ...mount, hostPath: mount.source };
    const volume = volumes[wishes.indexOf(resolving)]!;
    return { ...mount, source: volume.name, hostPath: volume.path };
  });
}

/** A part of a volume is not filled: what it would be filled from is not there before the volume is. */
function volumeWish(mount: MountConfig | InheritedMount): VolumeWish {
  const { source, target, noCopy, volumeDriver, volumeOptions, volumeLabels, volumeSubpath } = mount;
  return {
    name: source,
    target,
    noCopy: noCopy || volumeSubpath !== '',
    driver: volumeDriver,
    options: volumeOptions,
    labels: volumeLabels,
    inherited: 'inherited' in mount,
  };
}

/** Takes back what a create had done so far. Its name is free at once, whatever becomes of the rest. */
export async function undoCreate(engine: Engine, containerId: string): Promise<void> {
  await untilStored(engine, containerId, () => engine.repository.remove(containerId, []));
  engine.strays.add(containerId);
  await clearStray(engine, containerId);
}

/** Removes what was made for a container that is not there. */
export async function clearStray({ images, files, strays }: Engine, containerId: string): Promise<void> {
  await Promise.all([
    images.releaseVolumes(containerId, true),
    images.removeSnapshot(containerId),
    files.removeState(containerId),
  ]);
  strays.delete(containerId);
}
