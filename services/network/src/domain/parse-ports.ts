import { invalidField } from '@flotilla/errors';
import { parseIpv4 } from './ipv4.ts';
import type { PublishedPort } from './records.ts';

/** A port as a caller asks for it. */
export interface PortRequest {
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
}

/** Each holds a descriptor while this service runs. */
const mostPorts = 2_048;

/** Checks ports to publish. INVALID_FIELD names the field. */
export function parsePorts(requests: readonly PortRequest[]): PublishedPort[] {
  if (requests.length > mostPorts) throw invalidField('spec.ports', `at most ${mostPorts}`, String(requests.length));
  const ports = requests.map(parsePort);
  const seen = new Map<string, PublishedPort[]>();
  for (const [i, port] of ports.entries()) {
    if (port.hostPort === 0) continue;
    const key = `${port.protocol} ${port.hostPort}`;
    const others = seen.get(key) ?? [];
    if (others.some(({ hostIp }) => hostIp === '' || port.hostIp === '' || hostIp === port.hostIp)) {
      throw invalidField(
        `spec.ports[${i}].host_port`,
        'asked for once by each protocol and address',
        String(port.hostPort),
      );
    }
    seen.set(key, [...others, port]);
  }
  return ports;
}

function parsePort({ hostIp, hostPort, containerPort, protocol }: PortRequest, i: number): PublishedPort {
  const field = `spec.ports[${i}]`;
  if (!Number.isInteger(hostPort) || hostPort < 0 || hostPort > 65_535) {
    throw invalidField(`${field}.host_port`, 'a number from 0 to 65535', String(hostPort));
  }
  if (!Number.isInteger(containerPort) || containerPort < 1 || containerPort > 65_535) {
    throw invalidField(`${field}.container_port`, 'a number from 1 to 65535', String(containerPort));
  }
  if (protocol !== '' && protocol !== 'tcp' && protocol !== 'udp') {
    throw invalidField(`${field}.protocol`, '"tcp" or "udp"', protocol);
  }
  return { hostIp: parseHostIp(hostIp, field), hostPort, containerPort, protocol: protocol === '' ? 'tcp' : protocol };
}

function parseHostIp(text: string, field: string): string {
  if (text === '' || text === '0.0.0.0') return '';
  if (parseIpv4(text) === undefined) throw invalidField(`${field}.host_ip`, 'empty or an IPv4 address', text);
  return text;
}
