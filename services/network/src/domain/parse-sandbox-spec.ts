import { FlotillaError, invalidField } from '@flotilla/errors';
import { type PortRequest, parsePorts } from './parse-ports.ts';
import type { NetworkRecord, PublishedPort, SandboxMode } from './records.ts';

/** What a caller asks for one network. */
export interface AttachmentRequest {
  readonly network: string;
  readonly aliases: readonly string[];
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  readonly macAddress: string;
}

/** What a caller asks for a sandbox: strings and numbers as they came. */
export interface SandboxRequest {
  readonly sandboxId: string;
  readonly mode: string;
  readonly attachments: readonly AttachmentRequest[];
  readonly ports: readonly PortRequest[];
  readonly sysctls: Readonly<Record<string, string>>;
}

/** The same, checked. */
export interface SandboxPlan {
  readonly sandboxId: string;
  readonly mode: SandboxMode;
  readonly network: NetworkRecord;
  /** Lower case; absent for a derived one. */
  readonly mac: string | undefined;
  readonly ports: readonly PublishedPort[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Finds a network by id, unique id prefix or name; throws NETWORK_NOT_FOUND. */
export type NetworkFinder = (network: string) => NetworkRecord;

/** Checks a request. INVALID_ARGUMENT / INVALID_FIELD names the field; NOT_FOUND / NETWORK_NOT_FOUND. */
export function parseSandboxSpec(request: SandboxRequest | undefined, find: NetworkFinder): SandboxPlan {
  if (request === undefined) throw invalidField('spec', 'given');
  const sandboxId = parseSandboxId(request.sandboxId, 'spec.sandbox_id');
  const mode = parseMode(request.mode);
  const warnings: string[] = [];
  const ports = parsePorts(request.ports);
  if (mode !== 'bridge') {
    if (request.attachments.length > 0) throw invalidField('spec.attachments', `empty with mode ${mode}`);
    if (ports.length > 0) warnings.push(`published ports are left out: the network is ${mode}`);
  }
  const attachment = mode === 'bridge' ? parseAttachments(request.attachments, find) : undefined;
  return {
    sandboxId,
    mode,
    network: attachment?.network ?? find(mode),
    mac: attachment?.mac,
    ports: mode === 'bridge' ? ports : [],
    sysctls: parseSysctls(request.sysctls, mode),
    warnings,
  };
}

/** A container's id: a file is named after it. */
export function parseSandboxId(text: string, field: string): string {
  if (/^(?!warm-)[a-zA-Z0-9][\w.-]{0,127}$/.test(text)) return text;
  throw invalidField(field, 'a container id: 1 to 128 letters, digits, dots, hyphens and underscores', text);
}

function parseMode(text: string): SandboxMode {
  if (text === 'bridge' || text === 'host' || text === 'none') return text;
  throw invalidField('spec.mode', '"bridge", "host" or "none"', text);
}

function parseAttachments(attachments: readonly AttachmentRequest[], find: NetworkFinder) {
  const [first] = attachments;
  if (first === undefined)
    throw invalidField('spec.attachments', 'one for each network with mode bridge, at least one');
  const networks = attachments.map(({ network }, i) => {
    const found = find(network);
    if (found.driver === 'bridge') return found;
    throw invalidField(`spec.attachments[${i}].network`, 'a network of bridges with mode bridge', network);
  });
  if (attachments.length > 1) {
    throw new FlotillaError('unimplemented', 'a container can join one network', { reason: 'SEVERAL_NETWORKS' });
  }
  const { network = find('bridge') } = { network: networks[0] };
  refuseUserNetworkOptions(first);
  return { network, mac: parseMac(first.macAddress) };
}

/** As in Docker: who wants a certain address or further names makes a network of their own for it. */
function refuseUserNetworkOptions({ ipv4Address, ipv6Address, aliases }: AttachmentRequest): void {
  const only = 'empty for the network "bridge": only networks that users made have them';
  if (ipv4Address !== '') throw invalidField('spec.attachments[0].ipv4_address', only, ipv4Address);
  if (ipv6Address !== '') throw invalidField('spec.attachments[0].ipv6_address', only, ipv6Address);
  if (aliases.length > 0) throw invalidField('spec.attachments[0].aliases', only, aliases.join());
}

function parseMac(text: string): string | undefined {
  if (text === '') return undefined;
  const unicast = /^[\da-f][02468ace](:[\da-f]{2}){5}$/i.test(text) && !/^0+$/.test(text.replaceAll(':', ''));
  if (!unicast) throw invalidField('spec.attachments[0].mac_address', 'a unicast MAC address', text);
  return text.toLowerCase();
}

function parseSysctls(sysctls: Readonly<Record<string, string>>, mode: SandboxMode): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(sysctls)) {
    const field = `spec.sysctls[${name}]`;
    if (mode === 'host') throw invalidField(field, 'left out with mode host: it would change the host');
    if (!/^net(\.[a-z\d_-]+)+$/i.test(name)) throw invalidField(field, 'named net.…, parts separated by dots');
    if (!/^[\x20-\x7e\t]{1,256}$/.test(value)) throw invalidField(field, '1 to 256 printable characters', value);
  }
  return sysctls;
}
