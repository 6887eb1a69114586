import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import process from 'node:process';
import { loadPaths, socketPath } from '@flotilla/config';
import { createLogger } from '@flotilla/log';
import { findLivePid, instanceFiles, makePrivateFolder, removeFile, replaceFile } from '../src/instance-files.ts';
import { KeptProcess } from '../src/kept-process.ts';
import { openListeningSocket } from '../src/listening-socket.ts';
import { configureNats } from '../src/nats.ts';
import { services } from '../src/services.ts';

// Keeps the services alive where no systemd does: holds their listening sockets, so that a restarting service refuses
// nobody, and starts again what ends. It stands in nobody's way: without it everything goes on, and the next keeper
// takes over what runs.
process.umask(0o077);
const paths = loadPaths();
const files = instanceFiles(paths);
for (const folder of [paths.root, paths.run]) makePrivateFolder(folder);
for (const folder of ['pids', 'shims', 'netns']) makePrivateFolder(`${paths.run}/${folder}`);
makePrivateFolder(files.compileCache);
makePrivateFolder(`${paths.root}/log`);
const log = createLogger({ service: 'keeper', level: process.env.FLOTILLA_LOG ?? 'info' });

const other = findLivePid(files.pidFile('keeper'));
if (other !== undefined && other !== process.pid) {
  log.info({ keeperPid: other }, 'another keeper runs for this instance');
  process.exit(0);
}
replaceFile(files.pidFile('keeper'), `${process.pid}\n`);

const terminated = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
const kept: KeptProcess[] = [];
const env: NodeJS.ProcessEnv = {
  ...process.env,
  FLOTILLA_ROOT: paths.root,
  FLOTILLA_RUN: paths.run,
  NODE_COMPILE_CACHE: files.compileCache,
};

const openLog = (name: string): number => openSync(files.logFile(name), 'a', 0o600);

if (process.env.FLOTILLA_NATS_URL === undefined) {
  const { configPath } = await configureNats(paths);
  kept.push(
    new KeptProcess(
      {
        name: 'nats',
        command: 'nats-server',
        args: ['--config', configPath],
        env,
        logFd: openLog('nats'),
        pidFile: files.pidFile('nats'),
      },
      log,
    ),
  );
}
for (const { name, main, nodeFlags } of services) {
  const socketFd = openListeningSocket(socketPath(paths, name), findLivePid(files.pidFile(name)));
  kept.push(
    new KeptProcess(
      {
        name,
        command: process.execPath,
        args: [...nodeFlags, main],
        env,
        logFd: openLog(name),
        socketFd,
        pidFile: files.pidFile(name),
      },
      log,
    ),
  );
}
for (const process of kept) process.start();
log.info({ processes: kept.map(({ name }) => name) }, 'ready');

await terminated;
// Those that ask go before those that are asked.
for (const one of kept.toReversed()) await one.stop(10_000);
for (const { name } of services) removeFile(socketPath(paths, name));
removeFile(files.pidFile('keeper'));
if (process.env.FLOTILLA_NATS_URL === undefined) {
  removeFile(files.natsUrl);
  removeFile(files.natsConfig);
}
log.info({}, 'stopped');
closeSync(2);
