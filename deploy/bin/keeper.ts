import { once } from 'node:events';
import { openSync } from 'node:fs';
import process from 'node:process';
import { loadPaths, socketPath } from '@flotilla/config';
import { tryFileLock } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { adoptOrphans } from '../src/adopt-orphans.ts';
import { instanceFiles, makeInstanceFolders, removeFile } from '../src/instance-files.ts';
import { endProcess, KeptProcess, type ProcessPlan } from '../src/kept-process.ts';
import { openListeningSocket, takeListeningSocket } from '../src/listening-socket.ts';
import { configureNats } from '../src/nats.ts';
import { findRecordedProcess, forgetProcess, recordOwnProcess } from '../src/process-record.ts';
import { type Service, services } from '../src/services.ts';

// Keeps the services alive where no systemd does: holds their listening sockets, so that a restarting service refuses
// nobody, and starts again what ends. It stands in nobody's way: without it everything goes on, and the next keeper
// takes over what runs.
process.umask(0o077);
const paths = loadPaths();
const files = instanceFiles(paths);
makeInstanceFolders(paths);
const log = createLogger({ service: 'keeper', level: process.env.FLOTILLA_LOG ?? 'info' });
if (tryFileLock(files.keeperLock) === undefined) {
  log.info({ instance: paths.instance }, 'another keeper runs for this instance');
  process.exit(0);
}
recordOwnProcess(files, 'keeper');

const terminated = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
const ownNats = process.env.FLOTILLA_NATS_URL === undefined;
const env: NodeJS.ProcessEnv = {
  ...process.env,
  // Debian keeps servers where not everybody's PATH looks.
  PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`,
  FLOTILLA_ROOT: paths.root,
  FLOTILLA_RUN: paths.run,
  NODE_COMPILE_CACHE: files.compileCache,
};
const openLog = (name: string): number => openSync(files.logFile(name), 'a', 0o600);
const keep = (plan: ProcessPlan): KeptProcess => new KeptProcess(plan, files, log);

function keepNats(): KeptProcess {
  const prepare = () => configureNats(paths, env.PATH);
  const args = ['--config', files.natsConfig];
  return keep({ name: 'nats', command: 'nats-server', args, env, logFd: openLog('nats'), prepare });
}

async function keepService({ name, main, nodeFlags }: Service): Promise<KeptProcess> {
  const path = socketPath(paths, name);
  const running = findRecordedProcess(files, name);
  const taken = running && takeListeningSocket(path, running.pid);
  if (running !== undefined && taken === undefined) await endProcess(running, 5_000);
  const socketFd = taken ?? openListeningSocket(path);
  return keep({ name, command: process.execPath, args: [...nodeFlags, main], env, logFd: openLog(name), socketFd });
}

const kept: KeptProcess[] = ownNats ? [keepNats()] : [];
for (const service of services) kept.push(await keepService(service));
using _orphans = adoptOrphans((pid) => kept.some(({ childPid }) => childPid === pid));
for (const one of kept) one.start();
log.info({ processes: kept.map(({ name }) => name) }, 'ready');

await terminated;
// Those that ask go before those that are asked.
for (const one of kept.toReversed()) await one.stop(10_000);
for (const { name } of services) removeFile(socketPath(paths, name));
if (ownNats) for (const file of [files.natsUrl, files.natsConfig]) removeFile(file);
forgetProcess(files, 'keeper');
log.info({}, 'stopped');
