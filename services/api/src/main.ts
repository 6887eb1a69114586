import { once } from 'node:events';
import process from 'node:process';
import { loadConfig, loadPaths, socketPath } from '@flotilla/config';
import { createLogger } from '@flotilla/log';
import { engineVersion, serve } from '@flotilla/rpc';
import { readHostFacts } from './adapters/host-facts.ts';
import { connectImages, connectSupervisor } from './adapters/owners.ts';
import { ownVersion, probeServices } from './adapters/probes.ts';
import { ShimConnections } from './adapters/shim-connections.ts';
import { configSchema } from './config.ts';
import { eventService, ownedServices } from './server/services.ts';
import { systemService } from './server/system-service.ts';

async function main(): Promise<void> {
  process.umask(0o077);
  const { log: level, deadlineMs, resumeMs } = loadConfig(configSchema, 'api');
  const paths = loadPaths();
  const log = createLogger({ service: 'api', level });
  const terminated = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await using stack = new AsyncDisposableStack();
  const supervisor = stack.use(connectSupervisor(`unix://${socketPath(paths, 'supervisor')}`, deadlineMs));
  const images = stack.use(connectImages(`unix://${socketPath(paths, 'image')}`, deadlineMs));
  const stopping = new AbortController();
  const shims = stack.use(new ShimConnections());
  const owned = ownedServices({ paths, supervisor, shims, deadlineMs, resumeMs, stopping: stopping.signal }).map(
    (one) => stack.use(one),
  );
  const self = ownVersion();
  const probe = () => probeServices(paths, self);
  const system = systemService({ paths, version: engineVersion, facts: readHostFacts(), supervisor, images, probe });
  const listen = socketPath(paths, 'api');
  const implementations = [...owned, eventService(paths), system];
  stack.use(await serve({ socketPath: listen, implementations, service: 'api', log }));
  log.info({ listen }, 'ready');
  await terminated;
  stopping.abort();
  log.info({}, 'stopping');
}

await main();
// A connection that a library left behind must not keep a process alive that has stopped listening.
process.exit(0);
