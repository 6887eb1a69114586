import { resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { KeeperClient } from '@flotilla/client';
import { FlotillaError } from '@flotilla/errors';
import { describe } from '../failure.ts';
import { requireKeeper } from './keeper.ts';

/** Those that others ask come first; the keeper, which does all that, last. */
export const upgradeOrder = ['image', 'network', 'launcher', 'supervisor', 'api'] as const;

const pollMs = 50;

/** The release that this client is of. */
export const ownRelease: string = resolve(fileURLToPath(new URL('../../../..', import.meta.url)));

/** Replaces processes one after the other, telling of each; stops at the first that fails: UPGRADE_FAILED. */
export async function upgradeServices(names: readonly string[], releaseDir: string, timeoutMs: number): Promise<void> {
  using keeper = requireKeeper();
  for (const name of names) {
    const startedAt = performance.now();
    const pid =
      name === 'keeper'
        ? await upgradeKeeper(keeper, releaseDir, timeoutMs)
        : await upgradeOne(keeper, name, releaseDir);
    process.stdout.write(`${name} upgraded, pid ${pid} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)\n`);
  }
}

async function upgradeOne(keeper: KeeperClient, name: string, releaseDir: string): Promise<number> {
  let last = 'the keeper said nothing';
  for await (const { stage, message, pid } of keeper.upgradeProcess({ name, releaseDir })) {
    if (stage === 'UPGRADE_STAGE_DONE') return pid;
    last = message;
  }
  throw failed(name, last);
}

/** It executes the new release in its own place, so that its answer ends: whether that worked is asked of the new one. */
async function upgradeKeeper(keeper: KeeperClient, releaseDir: string, timeoutMs: number): Promise<number> {
  let last = '';
  try {
    for await (const { stage, message } of keeper.upgradeProcess({ name: 'keeper', releaseDir })) {
      if (stage === 'UPGRADE_STAGE_REFUSED') throw failed('keeper', message);
      last = message;
    }
  } catch (error) {
    if (!(error instanceof FlotillaError) || error.code !== 'unavailable') throw error;
  }
  for (const deadline = Date.now() + timeoutMs; Date.now() < deadline; await sleep(pollMs)) {
    try {
      // One of its own: the old one's connection knows the old socket.
      using now = requireKeeper();
      const { processes } = await now.listProcesses({});
      const self = processes.find(({ name }) => name === 'keeper');
      if (self?.releaseDir === releaseDir && processes.every(({ pid }) => pid > 0)) return self.pid;
    } catch (error) {
      last = describe(error);
    }
  }
  throw failed('keeper', `it is not ${releaseDir}'s: ${last}`);
}

function failed(name: string, message: string): FlotillaError {
  return new FlotillaError('aborted', `${name} was not upgraded: ${message}`, {
    reason: 'UPGRADE_FAILED',
    metadata: { service: name },
  });
}
