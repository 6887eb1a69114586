import { FlotillaError } from '@flotilla/errors';
import type { ContainerRecord } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import { etcContent } from './etc-files.ts';
import type { Attached, EtcContent, SandboxWish } from './ports.ts';
import type { NamespaceChoice } from './spec/build-spec.ts';
import { mergePorts } from './spec/merge-config.ts';
import { type Mode, networkMode, utsMode } from './validation/modes.ts';

/** A container's place in the network, ready to be started in. */
export interface Sandbox {
  readonly network: NamespaceChoice;
  readonly hostname: string;
  /** Undefined when the files of the container that was joined are used. */
  readonly etc: EtcContent | undefined;
  /** Whose /etc/hosts and so on. */
  readonly etcOwnerId: string;
  readonly attached: Attached | undefined;
}

/** What the network service is asked for; undefined when it need not be asked at all. */
export function sandboxWish(record: ContainerRecord): SandboxWish | undefined {
  const { config, containerId, name, made } = record;
  const mode = networkMode(config.networkMode);
  if (mode.kind !== 'network' || made === undefined) return undefined;
  const net = Object.entries(config.sysctls).filter(([key]) => key.startsWith('net.'));
  return {
    sandboxId: containerId,
    network: mode.network,
    aliases: config.networkAliases,
    ipv4Address: config.ipv4Address,
    ipv6Address: config.ipv6Address,
    macAddress: config.macAddress,
    ports: mergePorts(config, made.image),
    hostname: ownHostname(record),
    name,
    sysctls: Object.fromEntries(net),
  };
}

/** Gives a container its network namespace and says what its files must hold. */
export async function openSandbox(engine: Engine, record: ContainerRecord): Promise<Sandbox> {
  const mode = networkMode(record.config.networkMode);
  if (mode.kind === 'container') return joinSandbox(engine, record);
  const wish = sandboxWish(record);
  const attached = wish === undefined ? undefined : await engine.networks.attach(wish);
  const hostname = hostnameFor(engine, record, mode);
  return {
    network: mode.kind === 'host' ? 'host' : attached === undefined ? 'new' : { path: attached.netnsPath },
    hostname,
    etc: etcContent({ config: record.config, mode, hostname, attached, host: engine.files.hostEtc() }),
    etcOwnerId: record.containerId,
    attached,
  };
}

function hostnameFor({ facts }: Engine, record: ContainerRecord, mode: Mode): string {
  const ofHost = mode.kind === 'host' || utsMode(record.config.utsMode).kind === 'host';
  return ofHost && record.config.hostname === '' ? facts.hostname : ownHostname(record);
}

function ownHostname({ config, containerId }: ContainerRecord): string {
  return config.hostname || containerId.slice(0, 12);
}

function joinSandbox(engine: Engine, record: ContainerRecord): Sandbox {
  const owner = runningContainer(engine, record.sandboxId, 'network_mode');
  const hostOnly = networkMode(owner.config.networkMode).kind === 'host';
  return {
    network: hostOnly ? 'host' : { path: owner.task!.netnsPath || `/proc/${owner.task!.initPid}/ns/net` },
    hostname: hostnameFor(engine, owner, networkMode(owner.config.networkMode)),
    etc: undefined,
    etcOwnerId: owner.containerId,
    attached: undefined,
  };
}

/** The namespace of another container that runs. FAILED_PRECONDITION / CONTAINER_NOT_RUNNING. */
export function joinNamespace(engine: Engine, mode: Mode, type: 'ipc' | 'pid'): NamespaceChoice {
  if (mode.kind === 'host') return 'host';
  if (mode.kind !== 'container') return 'new';
  const owner = runningContainer(engine, mode.container, `${type}_mode`);
  return { path: `/proc/${owner.task!.initPid}/ns/${type}` };
}

function runningContainer({ repository }: Engine, reference: string, field: string): ContainerRecord {
  const owner = repository.find(reference);
  if (isLive(owner.state) && owner.task !== undefined) return owner;
  throw new FlotillaError('failed_precondition', `${field}: container ${owner.name} does not run`, {
    reason: 'CONTAINER_NOT_RUNNING',
    metadata: { containerId: owner.containerId, field },
  });
}
