import { isIP, isIPv4, isIPv6 } from 'node:net';
import { invalidField } from '@flotilla/errors';
import type { ContainerConfig, PortMapping } from '../container-config.ts';
import { type Mode, parseMode } from './modes.ts';
import { checkHostname } from './names.ts';
import { checkChoice, checkEach } from './text.ts';

const macPattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const domainPattern = /^(\.|[a-zA-Z0-9_-]{1,63}(\.[a-zA-Z0-9_-]{1,63})*\.?)$/;

/** INVALID_FIELD for what cannot be, or not in this network mode. Whether networks exist, the network service says. */
export function checkNetwork(config: ContainerConfig): void {
  const mode = parseMode(config.networkMode, 'network_mode', ['host', 'none', 'network']);
  checkEach(config.ports, 'ports', checkPort);
  checkEach(config.exposedPorts, 'exposed_ports', (port, field) => void parseExposedPort(port, field));
  checkEach(config.dns, 'dns', (address, field) => {
    if (isIP(address) === 0) throw invalidField(field, 'an IP address', address);
  });
  checkEach(config.dnsSearch, 'dns_search', (domain, field) => {
    if (!domainPattern.test(domain)) throw invalidField(field, 'a domain name', domain);
  });
  checkEach(config.dnsOptions, 'dns_options', (option, field) => {
    if (!/^[a-z0-9:-]{1,64}$/.test(option)) throw invalidField(field, 'an option of resolv.conf(5)', option);
  });
  checkEach(config.extraHosts, 'extra_hosts', (line, field) => void parseExtraHost(line, field));
  checkEach(config.networkAliases, 'network_aliases', checkHostname);
  checkAddresses(config);
  checkConflicts(config, mode);
}

function checkPort({ hostIp, hostPort, containerPort, protocol }: PortMapping, field: string): void {
  if (hostIp !== '' && isIP(hostIp) === 0) throw invalidField(`${field}.host_ip`, 'an IP address', hostIp);
  if (containerPort < 1 || containerPort > 65_535) {
    throw invalidField(`${field}.container_port`, '1 to 65535', String(containerPort));
  }
  if (hostPort > 65_535) throw invalidField(`${field}.host_port`, '0 to 65535', String(hostPort));
  checkChoice(protocol, `${field}.protocol`, ['', 'tcp', 'udp']);
}

export interface ExposedPorts {
  readonly first: number;
  readonly last: number;
  readonly protocol: string;
}

/** `80`, `80/udp`, `8000-8010/tcp`. INVALID_FIELD otherwise. */
export function parseExposedPort(text: string, field: string): ExposedPorts {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first < 1 || first > last || last > 65_535) {
    throw invalidField(field, 'a port such as 80, 80/udp or 8000-8010/tcp', text);
  }
  return { first, last, protocol: match[3]?.toLowerCase() ?? 'tcp' };
}

/** `name:address`, where the address may be `host-gateway`. INVALID_FIELD otherwise. */
export function parseExtraHost(line: string, field: string): { readonly name: string; readonly address: string } {
  const at = line.search(/[:=]/);
  const name = line.slice(0, Math.max(at, 0));
  const address = line.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
  if (at < 1 || (address !== 'host-gateway' && isIP(address) === 0)) {
    throw invalidField(field, '`name:address` with an IP address or host-gateway', line);
  }
  checkHostname(name, field);
  return { name, address };
}

function checkAddresses({ ipv4Address, ipv6Address, macAddress }: ContainerConfig): void {
  if (ipv4Address !== '' && !isIPv4(ipv4Address)) throw invalidField('ipv4_address', 'an IPv4 address', ipv4Address);
  if (ipv6Address !== '' && !isIPv6(ipv6Address)) throw invalidField('ipv6_address', 'an IPv6 address', ipv6Address);
  if (macAddress === '') return;
  if (!macPattern.test(macAddress) || (Number.parseInt(macAddress.slice(0, 2), 16) & 1) === 1) {
    throw invalidField('mac_address', 'a unicast address such as 02:42:ac:11:00:02', macAddress);
  }
}

function checkConflicts(config: ContainerConfig, mode: Mode): void {
  const refuse = (given: boolean, field: string) => {
    if (given) throw invalidField(field, `left out with network mode ${config.networkMode}`);
  };
  if (mode.kind === 'container') {
    refuse(config.hostname !== '', 'hostname');
    refuse(config.domainname !== '', 'domainname');
    refuse(config.ports.length > 0, 'ports');
    refuse(config.publishAllPorts, 'publish_all_ports');
    refuse(config.dns.length + config.dnsSearch.length + config.dnsOptions.length > 0, 'dns');
    refuse(config.extraHosts.length > 0, 'extra_hosts');
  }
  if (mode.kind === 'network') return;
  refuse(config.networkAliases.length > 0, 'network_aliases');
  refuse(config.ipv4Address !== '', 'ipv4_address');
  refuse(config.ipv6Address !== '', 'ipv6_address');
  refuse(config.macAddress !== '', 'mac_address');
}
