import { natsUrl, type Paths, socketPath } from '@flotilla/config';
import { connectNats } from '@flotilla/events';
import type { ServiceStatus } from '@flotilla/proto/flotilla/v1/system';
import { VersionResponse, VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { connect, engineVersion, protocolVersion } from '@flotilla/rpc';
import { askLauncherState } from './launcher-state.ts';

/** A probe that takes longer has failed. */
const probeDeadlineMs = 2_000;

/** Asks every process of the engine whether it is well, all at once; in the order in which they are shown. */
export async function probeServices(paths: Paths, self: VersionResponse): Promise<ServiceStatus[]> {
  const own = { name: 'api', address: `unix://${socketPath(paths, 'api')}`, healthy: true, error: '', version: self };
  const grpc = (name: 'image' | 'network' | 'supervisor') => {
    const address = `unix://${socketPath(paths, name)}`;
    return probe(name, address, () => askVersion(name, address));
  };
  const launcher = socketPath(paths, 'launcher');
  return Promise.all([
    own,
    grpc('image'),
    grpc('network'),
    grpc('supervisor'),
    probe('launcher', `unix://${launcher}`, () => askLauncher(launcher)),
    probe('nats', natsAddress(paths), () => askNats(natsUrl(paths))),
  ]);
}

async function probe(name: string, address: string, ask: () => Promise<VersionResponse>): Promise<ServiceStatus> {
  try {
    return { name, address, healthy: true, error: '', version: await ask() };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { name, address, healthy: false, error: text, version: undefined };
  }
}

async function askVersion(name: string, address: string): Promise<VersionResponse> {
  using client = connect(VersionServiceService, { address, name, deadlineMs: probeDeadlineMs });
  return await client.version({});
}

async function askLauncher(path: string): Promise<VersionResponse> {
  const { pid, version } = await askLauncherState(path, probeDeadlineMs);
  const nodeVersion = process.versions.node;
  return VersionResponse.fromPartial({ service: 'launcher', version, protocol: protocolVersion, pid, nodeVersion });
}

async function askNats(url: string): Promise<VersionResponse> {
  const nats = await connectNats(url, { reconnect: false, timeout: probeDeadlineMs });
  try {
    return VersionResponse.fromPartial({ service: 'nats', version: nats.info?.version ?? '' });
  } finally {
    await nats.close();
  }
}

/** Without the credentials. */
function natsAddress(paths: Paths): string {
  try {
    return `nats://${new URL(natsUrl(paths)).host}`;
  } catch {
    return '';
  }
}

/** What this process says of itself. */
export function ownVersion(): VersionResponse {
  return {
    service: 'api',
    version: engineVersion,
    protocol: protocolVersion,
    nodeVersion: process.versions.node,
    pid: process.pid,
    startedAtUnixNano: BigInt(Math.round(performance.timeOrigin * 1e6)),
  };
}
