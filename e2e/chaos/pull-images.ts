import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { captain, Registry } from '../harness/registry.ts';
import { dockerArchive } from '../images/archives.ts';
import { imageIdOf } from './change-images.ts';
import type { LoadRecord } from './load-record.ts';
import type { PatientClient } from './patient-client.ts';

const name = 'chaos/pulled:1';
const layerBytes = 4 << 20;

/** Why nothing can be pulled here; undefined when it can. */
export function pullProblem(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const missing = ['docker-registry', 'skopeo'].filter(
    (one) => !folders.some((folder) => existsSync(join(folder, one))),
  );
  return missing.length === 0 ? undefined : `${missing.join(' and ')} not found`;
}

/** A registry with one image of a few MiB. */
export async function startRegistry(): Promise<Registry> {
  const registry = await Registry.start();
  await registry.push(dockerArchive(name, [{ name: 'data', content: randomBytes(layerBytes) }]), name);
  return registry;
}

/** One client: pulls an image and removes it, again and again until told to end. It is the same image every time. */
export async function pullImages(
  client: PatientClient,
  registry: Registry,
  record: LoadRecord,
  signal: AbortSignal,
): Promise<void> {
  const reference = `${registry.host}/${name}`;
  let known = '';
  while (!signal.aborted) {
    try {
      const id = await pull(client, reference);
      known ||= id;
      if (id !== known) record.wrong.push(`${reference} was ${known} and is ${id}`);
      const found = await imageIdOf(client, reference);
      if (found !== id) record.wrong.push(`${reference} was pulled as ${id}, and is ${found || 'not there'}`);
      await client.call('ImageService', 'RemoveImage', { image: reference }, status.NOT_FOUND);
      const left = await imageIdOf(client, reference);
      if (left !== '') record.wrong.push(`${reference} was removed and is ${left}`);
      record.count('images that were pulled');
      await sleep(100);
    } catch (error) {
      record.wrong.push(`${reference}: ${(error as Error).message}`);
    }
  }
}

async function pull(client: PatientClient, reference: string): Promise<string> {
  const answer = await client.patiently('PullImage', async () => {
    const request = { reference, auth: captain };
    let image: Record<string, unknown> = {};
    const inTime = AbortSignal.timeout(60_000);
    for await (const answer of client.grpc.stream('ImageService', 'PullImage', request, inTime)) {
      if (answer.image) image = answer.image as Record<string, unknown>;
    }
    return image;
  });
  return String(answer.image_id);
}
