import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { loadConfig, loadPaths, natsUrl, shimDir, socketPath } from '@flotilla/config';
import { EventPublisher } from '@flotilla/events';
import { nowUnixNano } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { serve, takeTurn } from '@flotilla/rpc';
import { checkSchema, LogFlusher, Outbox, openDatabase } from '@flotilla/store';
import { BootRecord } from './adapters/boot-record.ts';
import { ContainerFiles } from './adapters/container-files.ts';
import { readHostFacts } from './adapters/host-facts.ts';
import { ImageClient } from './adapters/image-client.ts';
import { KernelObserver } from './adapters/kernel-observer.ts';
import { LauncherClient } from './adapters/launcher-client.ts';
import { NetworkClient } from './adapters/network-client.ts';
import { ShimClients } from './adapters/shim-clients.ts';
import { SnapshotTreeClient } from './adapters/snapshot-tree-client.ts';
import { TreeClient } from './adapters/tree-client.ts';
import { configSchema } from './config.ts';
import type { Engine } from './domain/engine.ts';
import { ExitFiles } from './domain/exit-files.ts';
import { HealthMonitor } from './domain/health/health-monitor.ts';
import { KeyedQueue } from './domain/keyed-queue.ts';
import { OpenArchives } from './domain/open-archives.ts';
import { OpenAttachments } from './domain/open-attachments.ts';
import { reconcile } from './domain/reconcile.ts';
import { restartPending } from './domain/restart-pending.ts';
import { RestartTimers } from './domain/restart-timers.ts';
import { settleAfterBoot } from './domain/settle-after-boot.ts';
import { TaskMonitor } from './domain/task-monitor.ts';
import { TaskWaiters } from './domain/task-waiters.ts';
import { containerService } from './server/container-service.ts';
import { execService } from './server/exec-service.ts';
import { supervisorService } from './server/supervisor-service.ts';
import { ContainerStore } from './store/container-store.ts';
import { migrations } from './store/migrations.ts';

process.umask(0o077);
const { log: level, deadlineMs, monitorMs, journalSocket } = loadConfig(configSchema, 'supervisor');
const paths = loadPaths();
const log = createLogger({ service: 'supervisor', level });
const terminated = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
await using stack = new AsyncDisposableStack();
const stopped = new AbortController();

const databaseDir = join(paths.root, 'supervisor');
mkdirSync(databaseDir, { recursive: true, mode: 0o700 });
const databasePath = join(databaseDir, 'supervisor.db');
const check = () => checkSchema(databasePath, migrations);
stack.use(await takeTurn({ lockPath: `${databasePath}.lock`, check, log }));
// Flushed where a call's answer depends on it: LogFlusher.
const database = stack.use(openDatabase(databasePath, { migrations, durable: false }));
const flusher = stack.use(new LogFlusher(`${databasePath}-wal`));
const publisher = stack.use(
  new EventPublisher({
    outbox: new Outbox(database),
    flush: () => flusher.flush(),
    source: 'supervisor',
    natsUrl: () => natsUrl(paths),
    log,
  }),
);
const repository = new ContainerStore({
  database,
  flush: () => flusher.flush(),
  log,
  announce: ({ containerId, ...event }) => publisher.announce({ ...event, type: 'container', actorId: containerId }),
});

const listen = socketPath(paths, 'supervisor');
const address = (service: 'image' | 'network') => `unix://${socketPath(paths, service)}`;
const folderOf = (containerId: string) => shimDir(paths, containerId);
const cgroupsPath = (containerId: string) => `/${paths.instance}/${containerId}`;
const images = stack.use(new ImageClient(address('image'), deadlineMs));
const engine: Engine = {
  instance: paths.instance,
  facts: readHostFacts(),
  repository,
  images,
  networks: stack.use(new NetworkClient(address('network'), deadlineMs)),
  launcher: new LauncherClient({ socketPath: socketPath(paths, 'launcher'), shimDir: folderOf, deadlineMs }),
  shims: stack.use(
    new ShimClients({
      shimDir: folderOf,
      cgroupsPath,
      deadlineMs,
    }),
  ),
  files: new ContainerFiles({
    stateRoot: join(paths.root, 'containers'),
    shimRoot: join(paths.run, 'shims'),
    supervisorAddress: `unix://${listen}`,
    logLevel: level,
    cgroupParent: `/${paths.instance}`,
    launcherSocket: socketPath(paths, 'launcher'),
    journalSocket,
  }),
  queue: new KeyedQueue(),
  waiters: new TaskWaiters(),
  attachments: new OpenAttachments(),
  archives: new OpenArchives(),
  log,
  leftovers: new Set(),
  strays: new Set(),
  restarting: new Set(),
  due: stack.use(new RestartTimers((containerId) => restartPending(engine, containerId))),
  now: nowUnixNano,
};

const monitor = stack.use(new TaskMonitor(engine));
// Before all else, and before the first call: what is taken for running after a boot would be found in no process.
const boot = new BootRecord(join(databaseDir, 'boot-id'));
if (boot.isNew) settleAfterBoot(engine);
boot.remember();
reconcile(engine, monitor, stopped.signal);
stack.use(new HealthMonitor(engine)).start();
const timer = setInterval(() => monitor.look(), monitorMs);
stack.defer(() => {
  stopped.abort();
  clearInterval(timer);
});
publisher.start();
const layers = (containerId: string) => images.layers(containerId);
const observer = new KernelObserver(cgroupsPath);
const trees = stack.use(new SnapshotTreeClient(address('image'), deadlineMs));
const copies = stack.use(new TreeClient(address('image'), deadlineMs));
const implementations = [
  containerService({ engine, layers, observer, trees, copies }),
  execService(engine),
  supervisorService(engine),
];
const exitFiles = stack.use(new ExitFiles(engine));
stack.use(await serve({ socketPath: listen, implementations, service: 'supervisor', log }));
log.info({ listen, containers: [...repository.all()].length }, 'ready');
await terminated;
log.info({}, 'stopping');
exitFiles.start();
await stack.disposeAsync();
// A connection that a library left behind must not keep a process alive that has stopped listening.
process.exit(0);
