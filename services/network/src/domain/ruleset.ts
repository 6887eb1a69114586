import type { PortRule } from './records.ts';

/** What the rules of an instance are made of. */
export interface RulesetFacts {
  /** Name of the table. */
  readonly table: string;
  /** Link of the bridge. */
  readonly bridge: string;
  /** `172.30.0.0/16`. */
  readonly subnet: string;
  readonly ports: readonly PortRule[];
}

/** nft(8)'s names have no hyphens in this project, so that they need no quotes anywhere. */
export function tableName(instance: string): string {
  return instance.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
}

/**
 * All rules of an instance in one table, as commands of one transaction that puts it in the place of the one before.
 * Ports are elements of two maps, looked up in constant time and added and removed one by one. The chain `spoofed` is for
 * route_localnet, which replies to the host's own loopback need: containers must not reach 127.0.0.0/8 through it.
 */
export function replaceTable({ table, bridge, subnet, ports }: RulesetFacts): string {
  return `add table ip ${table}
delete table ip ${table}
table ip ${table} {
  map ports {
    type inet_proto . inet_service : ipv4_addr . inet_service
  }
  map ports_of_addresses {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }
  chain published {
    dnat ip addr . port to ip daddr . meta l4proto . th dport map @ports_of_addresses
    dnat ip addr . port to meta l4proto . th dport map @ports
  }
  chain spoofed {
    type filter hook prerouting priority raw; policy accept;
    iifname "${bridge}" ip daddr 127.0.0.0/8 drop
    iifname "${bridge}" ip saddr 127.0.0.0/8 drop
  }
  chain from_others {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 127.0.0.0/8 return
    fib daddr type local jump published
  }
  chain from_host {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }
  chain outward {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${subnet} oifname != "${bridge}" masquerade
    oifname "${bridge}" ip saddr 127.0.0.0/8 masquerade
    oifname "${bridge}" ip saddr ${subnet} ct status dnat masquerade
  }
  chain forwarded {
    type filter hook forward priority filter; policy accept;
    oifname "${bridge}" jump inward
  }
  chain inward {
    ct state established,related accept
    iifname "${bridge}" accept
    ct status dnat accept
    drop
  }
}
${ports.length === 0 ? '' : addPorts(table, ports)}`;
}

/** Adds ports to a table that is there. */
export function addPorts(table: string, ports: readonly PortRule[]): string {
  return ports
    .map(
      (port) => `add element ip ${table} ${mapOf(port)} { ${keyOf(port)} : ${port.address} . ${port.containerPort} }\n`,
    )
    .join('');
}

/** Removes ports from it; fails as a whole when one is not there. */
export function deletePorts(table: string, ports: readonly PortRule[]): string {
  return ports.map((port) => `delete element ip ${table} ${mapOf(port)} { ${keyOf(port)} }\n`).join('');
}

function mapOf({ hostIp }: PortRule): string {
  return hostIp === '' ? 'ports' : 'ports_of_addresses';
}

function keyOf({ hostIp, protocol, hostPort }: PortRule): string {
  return `${hostIp === '' ? '' : `${hostIp} . `}${protocol} . ${hostPort}`;
}
