import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Paths, socketPath } from '@flotilla/config';
import { FlotillaError } from '@flotilla/errors';
import { type ServiceStatus, SystemServiceService } from '@flotilla/proto/flotilla/v1/system';
import { connect } from '@flotilla/rpc';
import { instanceFiles, makeInstanceFolders } from './instance-files.ts';
import { findRecordedProcess, type SeenProcess } from './process-record.ts';
import { projectRoot } from './services.ts';

/** Longer than the api itself waits for a service that does not answer. */
const askMs = 6_000;
const pollMs = 50;

/** The file system paths of the command-line client and the keeper. */
export const clientPath: string = join(projectRoot, 'services/cli/bin/flotilla');
const keeperPath = join(projectRoot, 'deploy/bin/keeper.ts');

/** What became of a program that was run to its end. */
export interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the keeper in a session of its own, unless one runs, and waits until it has taken its place. */
export async function ensureKeeper(paths: Paths): Promise<{ readonly keeper: SeenProcess; readonly started: boolean }> {
  const files = instanceFiles(paths);
  const running = findRecordedProcess(files, 'keeper');
  if (running !== undefined) return { keeper: running, started: false };
  makeInstanceFolders(paths);
  const logFd = openSync(files.logFile('keeper'), 'a', 0o600);
  const child = spawn(process.execPath, [keeperPath], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', logFd, logFd],
    env: { ...process.env, NODE_COMPILE_CACHE: files.compileCache },
  });
  closeSync(logFd);
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  child.once('error', () => {
    ended = true;
  });
  child.unref();
  while (!ended) {
    const keeper = findRecordedProcess(files, 'keeper');
    if (keeper !== undefined) return { keeper, started: keeper.pid === child.pid };
    await sleep(pollMs);
  }
  throw new FlotillaError('internal', 'the keeper ended at once', { reason: 'KEEPER_FAILED' });
}

/**
 * Asks the api for its list of services again and again until all are healthy, telling each change; gives what is known
 * when the time is over. An api that does not answer is one more service that is not healthy. A keeper that ends meanwhile
 * is started again, for without one nothing that ends comes back.
 */
export async function waitUntilHealthy(
  paths: Paths,
  { timeoutMs, onHealthy }: { readonly timeoutMs: number; readonly onHealthy: (service: ServiceStatus) => void },
): Promise<readonly ServiceStatus[]> {
  const address = `unix://${socketPath(paths, 'api')}`;
  using system = connect(SystemServiceService, { address, name: 'api', deadlineMs: askMs });
  const told = new Set<string>();
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const services = await system.listServices({}).then(
      (answer) => answer.services,
      (error: Error) => [unhealthyApi(address, error)],
    );
    for (const service of services) {
      if (!service.healthy || told.has(service.name)) continue;
      told.add(service.name);
      onHealthy(service);
    }
    if (services.every(({ healthy }) => healthy) || Date.now() > deadline) return services;
    await ensureKeeper(paths);
    await sleep(pollMs);
  }
}

function unhealthyApi(address: string, error: Error): ServiceStatus {
  return { name: 'api', address, healthy: false, error: error.message, version: undefined };
}

/** Runs the command-line client against this instance. */
export function runClient(paths: Paths, args: readonly string[]): Promise<Finished> {
  const { promise, resolve } = Promise.withResolvers<Finished>();
  const env = { ...process.env, FLOTILLA_ROOT: paths.root, FLOTILLA_RUN: paths.run };
  execFile(clientPath, args, { env, timeout: 60_000, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
    const code = error === null ? 0 : error.code;
    resolve({ exitCode: typeof code === 'number' ? code : 125, stdout, stderr });
  });
  return promise;
}
