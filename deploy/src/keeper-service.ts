import process from 'node:process';
import { invalidField } from '@flotilla/errors';
import {
  KeeperServiceService,
  type KeptProcess as KeptProcessMessage,
  UpgradeProcessResponse,
} from '@flotilla/proto/flotilla/keeper/v1/keeper';
import { type Implementation, implement } from '@flotilla/rpc';
import type { Keeper } from './keeper.ts';
import type { KeptProcess } from './kept-process.ts';
import { loadRelease, type Release } from './release.ts';
import type { Step } from './upgrade.ts';

/** KeeperService: decode, call, encode. */
export function keeperService(keeper: Keeper): Implementation {
  return implement(KeeperServiceService, {
    upgradeProcess: ({ name, releaseDir }) => follow(keeper, name, loadRelease(releaseDir)),
    restartProcess: async function* ({ name }) {
      if (name === 'keeper') throw invalidField('name', 'a process other than the keeper', name);
      for await (const progress of follow(keeper, name, keeper.get(name).release)) yield { progress };
    },
    listProcesses: async () => ({ processes: [...keeper.processes.map(toProto), itself(keeper)] }),
  });
}

/** Upgrades, and tells of it for as long as somebody listens. */
async function* follow(keeper: Keeper, name: string, target: Release): AsyncGenerator<UpgradeProcessResponse> {
  const startedAt = performance.now();
  const steps: UpgradeProcessResponse[] = [];
  let { promise: more, resolve: wake } = Promise.withResolvers<void>();
  const tell = (step: Step) => {
    const elapsedMs = BigInt(Math.round(performance.now() - startedAt));
    steps.push(UpgradeProcessResponse.fromPartial({ ...step, elapsedMs }));
    wake();
  };
  let isOver = false;
  const done = keeper.upgrade(name, target, tell).finally(() => {
    isOver = true;
    wake();
  });
  done.catch(() => {}); // Thrown below, if anybody still listens.
  for (;;) {
    for (let step = steps.shift(); step !== undefined; step = steps.shift()) yield step;
    if (isOver) break;
    await more;
    ({ promise: more, resolve: wake } = Promise.withResolvers<void>());
  }
  await done;
}

function toProto({ name, release, current, status, store }: KeptProcess): KeptProcessMessage {
  return {
    name,
    pid: current?.pid ?? 0,
    releaseDir: release.dir,
    version: release.version,
    sinceUnixNano: current?.since ?? 0n,
    ready: current?.isReady ?? false,
    status,
    storedDescriptors: store.all.length,
  };
}

function itself({ release, since }: Keeper): KeptProcessMessage {
  return {
    name: 'keeper',
    pid: process.pid,
    releaseDir: release.dir,
    version: release.version,
    sinceUnixNano: since,
    ready: true,
    status: '',
    storedDescriptors: 0,
  };
}
