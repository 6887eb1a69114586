import type { Paths } from '@flotilla/config';
import { GetInfoResponse, type ServiceStatus, SystemServiceService } from '@flotilla/proto/flotilla/v1/system';
import { type CallContext, type Implementation, implement } from '@flotilla/rpc';
import type { HostFacts } from '../adapters/host-facts.ts';
import type { ImageClient, SupervisorClient } from '../adapters/owners.ts';
import { diskUsage } from './disk-usage.ts';

export interface SystemOptions {
  readonly paths: Paths;
  readonly version: string;
  readonly facts: HostFacts;
  readonly supervisor: SupervisorClient;
  readonly images: ImageClient;
  readonly probe: () => Promise<ServiceStatus[]>;
}

/** An owner that is down must not keep `info` from telling the rest. */
const ownerDeadlineMs = 2_000;

/** SystemService: what the api knows or asks itself. */
export function systemService(options: SystemOptions): Implementation {
  return implement(SystemServiceService, {
    getInfo: async (_request, context) => getInfo(options, context),
    getDiskUsage: async (_request, context) => diskUsage(options, context),
    listServices: async () => ({ services: await options.probe() }),
  });
}

async function getInfo(options: SystemOptions, { signal }: CallContext): Promise<GetInfoResponse> {
  const { paths, version, facts, supervisor, images, probe } = options;
  const call = { signal, deadlineMs: ownerDeadlineMs };
  const [counts, found, snapshotter, services] = await Promise.all([
    supervisor.getCounts({}, call).catch(() => undefined),
    images.listImages({ references: [], labels: [], dangling: true }, call).catch(() => undefined),
    images.getSnapshotter({}, call).catch(() => undefined),
    probe(),
  ]);
  const down = services
    .filter(({ healthy }) => !healthy)
    .map(({ name, error }) => `service ${name} is not healthy: ${error}`);
  const { warnings, cgroupMode, ...host } = facts;
  return GetInfoResponse.fromPartial({
    ...host,
    instance: paths.instance,
    version,
    cgroupMode: counts?.cgroupMode || cgroupMode,
    snapshotter: snapshotter?.name ?? '',
    forkMode: counts?.forkMode ?? '',
    root: paths.root,
    run: paths.run,
    containersByState: counts?.containersByState ?? {},
    images: found?.images.length ?? 0,
    warnings: [...down, ...warnings],
  });
}
