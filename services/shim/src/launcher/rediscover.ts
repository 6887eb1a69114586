import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { closeFd, findProcess, isErrno } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { ContainerTable } from './container-table.ts';
import type { FdStore } from './fd-store.ts';
import { fetchDescriptors } from './fetch-descriptors.ts';
import { KeptContainer } from './kept-container.ts';
import type { Processes } from './processes.ts';
import { reopenOutput } from './reopen-output.ts';
import { findShimRecord, openInit, openShim } from './shim-record.ts';
import { isContainerId } from './shim-task.ts';
import { StoredDescriptors } from './stored-descriptors.ts';
import { storedName } from './stored-name.ts';
import { WatchedProcess } from './watched-process.ts';

/** Where what is found belongs. */
export interface Surroundings {
  readonly processes: Processes;
  readonly table: ContainerTable;
  readonly store: FdStore;
  readonly log: Logger;
}

/** Takes up the containers that an earlier launcher had, and what it had left with the service manager. */
export function rediscoverAll(shimsDir: string, stored: ReadonlyMap<string, number>, to: Surroundings): void {
  to.store.restore(stored);
  const ofContainers = new StoredDescriptors(stored);
  for (const containerId of listFolders(shimsDir)) {
    if (!isContainerId(containerId)) continue;
    try {
      rediscover({ containerId, shimDir: join(shimsDir, containerId) }, ofContainers, to);
    } catch (err) {
      to.log.error({ containerId, err }, 'what an earlier launcher had of a container could not be taken up');
    }
  }
  for (const { name, fd } of ofContainers.left) {
    to.store.remove(name);
    closeFd(fd);
  }
}

/** One container, if a shim has made it: by what its folder says. Takes what is stored of it. */
export function rediscover(
  { containerId, shimDir }: { readonly containerId: string; readonly shimDir: string },
  stored: StoredDescriptors,
  { processes, table, store, log }: Surroundings,
): KeptContainer | undefined {
  const record = findShimRecord(shimDir);
  if (record === undefined) return undefined;
  const { pid: shimPid, initPid, warnings } = record;
  const kept = stored.take(containerId);
  const storedInit = kept.get('init');
  kept.delete('init');
  const init = storedInit === undefined ? openInit(record) : new WatchedProcess(initPid, storedInit);
  const shim = openShim(record);
  const task = { containerId, run: BigInt(record.run), shimDir, requestId: '', adopt: false, replaces: 0 };
  const reply = { shimPid, initPid, warnings: [...warnings], keptDescriptors: [] };
  const container = new KeptContainer(task, { shim, init, reply });
  for (const [what, fd] of kept) container.descriptors.set(what, fd);
  const fetched = shim === undefined ? [] : fetchDescriptors(shim, record, container.descriptors);
  reopenOutput(shimDir, container.descriptors);
  table.add(container);
  for (const what of fetched) store.add(storedName(what, containerId), container.descriptors.get(what)!);
  if (init !== undefined && storedInit === undefined) store.add(storedName('init', containerId), init.pidfd);
  if (shim === undefined) {
    log.warn({ containerId, shimPid, initPid }, 'shim has died while no launcher was there');
    table.orphan(container);
    return container;
  }
  processes.addStranger(shim);
  container.isAdopted = init !== undefined && findProcess(initPid)?.parentPid !== shimPid;
  if (container.isAdopted) processes.follow(init!);
  log.debug({ containerId, shimPid, initPid }, 'shim found');
  return container;
}

function listFolders(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
