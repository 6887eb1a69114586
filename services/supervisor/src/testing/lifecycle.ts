import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createContainer } from '../domain/create-container.ts';
import type { Engine } from '../domain/engine.ts';
import { aConfig } from './builders.ts';
import type { FakeWorld } from './fake-world.ts';

export const never = new AbortController().signal;
export const anyStop = { signal: '', timeoutSeconds: undefined };

export function create(engine: Engine, name: string, config = aConfig(), idempotencyKey = '') {
  return createContainer(engine, {
    config,
    name,
    idempotencyKey,
    bytes: Buffer.from(JSON.stringify([name, config.command])),
  });
}

export async function settle(engine: Engine): Promise<void> {
  do await sleep(2);
  while (engine.queue.size > 0);
}

export function nothingIsLeft(world: FakeWorld): void {
  assert.deepEqual([...world.snapshots, ...world.sandboxes, ...world.tasks.keys(), ...world.volumes.keys()], []);
}
