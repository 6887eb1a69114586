import { once } from 'node:events';
import process from 'node:process';
import { exitsDir, loadPaths, socketPath } from '@flotilla/config';
import { ExitFiles, tryFileLock } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { serve } from '@flotilla/rpc';
import { adoptOrphans } from '../src/adopt-orphans.ts';
import { instanceFiles, makeInstanceFolders, removeFile } from '../src/instance-files.ts';
import { Keeper } from '../src/keeper.ts';
import { keeperService } from '../src/keeper-service.ts';
import { takeState } from '../src/keeper-state.ts';
import { keepOrphansExit } from '../src/orphan-exits.ts';
import { isOwnChild } from '../src/own-children.ts';
import { forgetProcess, recordOwnProcess } from '../src/process-record.ts';
import { loadRelease } from '../src/release.ts';
import { projectRoot, serviceNames } from '../src/services.ts';

// Keeps the services alive where no systemd does: holds their listening sockets, so that a restarting service refuses
// nobody, and what they store with it, and starts again what ends. It stands in nobody's way: without it everything goes
// on, and the next keeper takes over what runs.
process.umask(0o077);
const release = loadRelease(projectRoot);
// Another keeper wants to know whether this one can run at all.
if (process.env.FLOTILLA_REHEARSE === '1') process.exit(0);
const paths = loadPaths();
const files = instanceFiles(paths);
makeInstanceFolders(paths);
const log = createLogger({ service: 'keeper', level: process.env.FLOTILLA_LOG ?? 'info' });
const state = takeState();
const lockFd = state?.lockFd ?? tryFileLock(files.keeperLock);
if (lockFd === undefined) {
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
const keeper = new Keeper({ paths, files, log, release, lockFd, state, env });
const exits = new ExitFiles(exitsDir(paths));
using _orphans = adoptOrphans(isOwnChild, (ended) => keepOrphansExit(ended, paths.instance, exits));
await keeper.start(ownNats);
const server = await serve({
  socketPath: files.keeperSocket,
  implementations: [keeperService(keeper)],
  service: 'keeper',
  log,
  drainMs: 500,
  usePassedSocket: false,
});
log.info({ releaseDir: release.dir, processes: keeper.processes.map(({ name }) => name) }, 'ready');

await terminated;
await server[Symbol.asyncDispose]();
await keeper.stop(10_000);
for (const name of serviceNames) removeFile(socketPath(paths, name));
removeFile(files.keeperSocket);
if (ownNats) for (const file of [files.natsUrl, files.natsConfig]) removeFile(file);
forgetProcess(files, 'keeper');
log.info({}, 'stopped');
process.exit(0);
