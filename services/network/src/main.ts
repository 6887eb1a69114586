import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { loadConfig, loadPaths, natsUrl, socketPath } from '@flotilla/config';
import { EventPublisher } from '@flotilla/events';
import { nowUnixNano } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { serve, takeTurn } from '@flotilla/rpc';
import { checkSchema, LogFlusher, Outbox, openDatabase, outboxMigration } from '@flotilla/store';
import { LinuxHostNetwork } from './adapters/linux-host-network.ts';
import { configSchema } from './config.ts';
import type { Announce, Transact } from './domain/interfaces.ts';
import { parseCidrs } from './domain/ipv4.ts';
import { Networks } from './domain/networks.ts';
import { reconcile } from './domain/reconcile.ts';
import { ReleasedLinks } from './domain/released-links.ts';
import { Sandboxes } from './domain/sandboxes.ts';
import { endpointService } from './server/endpoint-service.ts';
import { networkService } from './server/network-service.ts';
import { NetworkStore } from './store/network-store.ts';
import { SandboxStore } from './store/sandbox-store.ts';
import { networkMigrations } from './store/schema.ts';

/** How often the rules are looked for: a reload of another firewall flushes them. */
const keepRulesMs = 5_000;

process.umask(0o077);
const config = loadConfig(configSchema, 'network');
const paths = loadPaths();
const log = createLogger({ service: 'network', level: config.log });
const terminated = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
mkdirSync(paths.root, { recursive: true, mode: 0o700 });
mkdirSync(paths.run, { recursive: true, mode: 0o700 });
await using stack = new AsyncDisposableStack();
const databasePath = join(paths.root, 'network.db');
const migrations = [...networkMigrations, outboxMigration];
const check = () => checkSchema(databasePath, migrations);
stack.use(await takeTurn({ lockPath: `${databasePath}.lock`, check, log }));
// A power cut takes namespaces and links with it: what it loses of the records is what they said about those.
const db = stack.use(openDatabase(databasePath, { migrations, durable: false }));
const outbox = new Outbox(db);
const flusher = stack.use(new LogFlusher(`${databasePath}-wal`));
const flush = () => flusher.flush();
const events = stack.use(new EventPublisher({ outbox, flush, source: 'network', natsUrl: () => natsUrl(paths), log }));
const host = stack.use(
  new LinuxHostNetwork({
    instance: paths.instance,
    namespaceFolder: join(paths.run, 'netns'),
    warmNamespaces: config.warmNamespaces,
    ranges: parseCidrs(config.subnets),
    mtu: config.mtu,
    log,
  }),
);
const records = new SandboxStore(db);
const networkRecords = new NetworkStore(db);
const transact: Transact = (work) => db.transact(work);
const announce: Announce = (action, { networkId, name, driver }, attributes = {}) =>
  events.announce({
    type: 'network',
    action,
    actorId: networkId,
    attributes: { name, type: driver, ...attributes },
    timeUnixNano: nowUnixNano(),
  });
const rules = () => sandboxes.rules();
const networks = new Networks({ records: networkRecords, host, transact, announce, nowUnixNano, rules });
const released = stack.use(new ReleasedLinks(host, records, log));
const sandboxes = new Sandboxes({ records, networkRecords, networks, host, released, transact, announce, notes: log });
reconcile({ records, networks, sandboxes, released, host, notes: log });
events.start();
stack.defer(() => {
  // With nobody attached nothing has to go on without this service.
  if (sandboxes.list().length === 0 && networks.isBridgeReady) host.removeBridge();
});
const rulesTimer = setInterval(() => {
  try {
    sandboxes.keepRules();
  } catch (err) {
    log.error({ err }, 'the rules cannot be put in place');
  }
}, keepRulesMs);
stack.defer(() => clearInterval(rulesTimer));
const listen = socketPath(paths, 'network');
const implementations = [
  networkService(networks, sandboxes, host.bridgeLink),
  endpointService(sandboxes, networks, host),
];
stack.use(await serve({ socketPath: listen, implementations, service: 'network', log }));
log.info({ listen, bridge: host.bridgeLink, sandboxes: sandboxes.list().length }, 'ready');
await terminated;
log.info({}, 'stopping');
await stack.disposeAsync();
// A connection that a library left behind must not keep a process alive that has stopped listening.
process.exit(0);
