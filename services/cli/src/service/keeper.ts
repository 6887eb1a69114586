import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectKeeper, type KeeperClient } from '@flotilla/client';
import { loadPaths } from '@flotilla/config/paths';
import { FlotillaError } from '@flotilla/errors';
import type { KeptProcess } from '@flotilla/proto/flotilla/keeper/v1/keeper';

/** Connects to the keeper of this instance. KEEPER_NOT_RUNNING when there is none, as under systemd. */
export function requireKeeper(): KeeperClient {
  const keeper = findKeeper();
  if (keeper !== undefined) return keeper;
  const { run } = loadPaths();
  throw new FlotillaError(
    'failed_precondition',
    `no keeper runs for ${run}: start one with 'npm run up'; under systemd install the release and use 'systemctl restart'`,
    { reason: 'KEEPER_NOT_RUNNING', metadata: { run } },
  );
}

/** What the keeper knows of its processes, by name; nothing when it cannot be asked. */
export async function listKept(): Promise<ReadonlyMap<string, KeptProcess>> {
  try {
    using keeper = findKeeper();
    const { processes = [] } = (await keeper?.listProcesses({})) ?? {};
    return new Map(processes.map((one) => [one.name, one]));
  } catch {
    return new Map();
  }
}

function findKeeper(): KeeperClient | undefined {
  const path = join(loadPaths().run, 'keeper.sock');
  return existsSync(path) ? connectKeeper(path, { deadlineMs: 5_000 }) : undefined;
}
