import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { waitFor } from '../harness/wait.ts';
import type { LastingContainer } from './lasting-containers.ts';
import type { LoadRecord } from './load-record.ts';
import type { PatientClient } from './patient-client.ts';
import type { Random } from './random.ts';

/** One client: freezes, thaws and renames containers that last, until told to end. What is frozen it thaws. */
export async function changeLasting(
  client: PatientClient,
  containers: readonly LastingContainer[],
  instance: string,
  random: Random,
  record: LoadRecord,
  signal: AbortSignal,
): Promise<void> {
  for (let number = 0; !signal.aborted; number += 1) {
    const container = random.pick(containers);
    try {
      if (random.next() < 0.5) await freeze(client, container, join(instance, container.id), random, record);
      else await rename(client, container, `renamed-${number}`, record);
    } catch (error) {
      record.wrong.push(`${container.id.slice(0, 12)}: ${(error as Error).message}`);
    }
    await sleep(random.integer(10, 200));
  }
}

async function freeze(
  client: PatientClient,
  { id, changes }: LastingContainer,
  group: string,
  random: Random,
  record: LoadRecord,
): Promise<void> {
  const done = async (method: string, frozen: boolean) => {
    await client.call('ContainerService', method, { container: id }, status.FAILED_PRECONDITION);
    changes.push(frozen ? 'pause' : 'unpause');
    await waitFor(`${method} of ${id} is done by the kernel`, () => isFrozen(group) === frozen, 2_000);
  };
  await done('PauseContainer', true);
  await sleep(random.integer(0, 300));
  await done('UnpauseContainer', false);
  record.count('pauses');
}

async function rename(
  client: PatientClient,
  { id, changes }: LastingContainer,
  name: string,
  record: LoadRecord,
): Promise<void> {
  await client.call('ContainerService', 'RenameContainer', { container: id, name }, status.ALREADY_EXISTS);
  changes.push('rename');
  const answer = await client.call('ContainerService', 'GetContainer', { container: name });
  const { container_id: found } = answer.container as { container_id: string };
  if (found !== id) record.wrong.push(`${name} is ${found.slice(0, 12)}, not ${id.slice(0, 12)}`);
  record.count('renames');
}

/** By the container's group of version 2, where the host has that hierarchy, else by the freezer of version 1: cgroups(7). */
function isFrozen(group: string): boolean {
  const events = [join('/sys/fs/cgroup', group), join('/sys/fs/cgroup/unified', group)]
    .map((folder) => join(folder, 'cgroup.events'))
    .find((path) => existsSync(path));
  if (events !== undefined) return /^frozen 1$/m.test(readFileSync(events, 'utf8'));
  return readFileSync(join('/sys/fs/cgroup/freezer', group, 'freezer.state'), 'utf8').trim() === 'FROZEN';
}
