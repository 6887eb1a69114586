import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { demoImage } from '../harness/engine.ts';
import type { LoadRecord } from './load-record.ts';
import { codeOf, type PatientClient } from './patient-client.ts';

/** One client: imports an image, gives it a second name, takes both away, and so on until told to end. */
export async function changeImages(client: PatientClient, record: LoadRecord, signal: AbortSignal): Promise<void> {
  for (let number = 0; !signal.aborted; number += 1) {
    try {
      await importAndRemove(client, `chaos/image-${number}:1`, record);
      record.count('images that came and went');
      await sleep(100);
    } catch (error) {
      record.wrong.push(`image ${number}: ${(error as Error).message}`);
    }
  }
}

async function importAndRemove(client: PatientClient, reference: string, record: LoadRecord): Promise<void> {
  const tag = reference.replace(/:1$/, ':2');
  const chunk = makeTar(reference);
  const requests = [{ options: { reference } }, { chunk }];
  const imported = await client.patiently('ImportImage', async () => {
    const answers = await client.grpc.exchange('ImageService', 'ImportImage', requests, { end: true });
    return answers.at(-1)?.image as Record<string, unknown>;
  });
  const id = String(imported.image_id);
  await client.call('ImageService', 'TagImage', { image: id, reference: tag });
  for (const name of [reference, tag]) {
    const found = await imageIdOf(client, name);
    if (found !== id) record.wrong.push(`${name} is ${found}, it was made ${id}`);
  }
  // An import that was asked for twice made two images, of which one has lost its name to the other: as in Docker.
  for (const name of [reference, tag]) {
    await client.call('ImageService', 'RemoveImage', { image: name }, status.NOT_FOUND);
    const found = await imageIdOf(client, name);
    if (found !== '') record.wrong.push(`${name} was removed and is ${found}`);
  }
}

/** Empty when there is none of that name. */
export async function imageIdOf(client: PatientClient, name: string): Promise<string> {
  const answer = await client.patiently('GetImage', () =>
    client.grpc.call('ImageService', 'GetImage', { image: name }).catch((error: unknown) => {
      if (codeOf(error) === status.NOT_FOUND) return {};
      throw error;
    }),
  );
  return (answer as { image?: { image_id: string } }).image?.image_id ?? '';
}

/** A root file system of one file. */
function makeTar(text: string): Buffer {
  const root = mkdtempSync(join(tmpdir(), 'flotilla-chaos-'));
  try {
    writeFileSync(join(root, 'name'), text);
    return execFileSync('tar', ['--create', '--file', '-', '--owner=0', '--group=0', '--directory', root, '.']);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** References that the store still has, but for the one that it began with. */
export async function leftImages(client: PatientClient): Promise<readonly string[]> {
  const { images } = await client.call('ImageService', 'ListImages', {});
  const names = (images as readonly { references: readonly string[] }[]).flatMap(({ references }) => references);
  return names.filter((name) => name !== demoImage);
}
