import { Endpoint, Network } from '@flotilla/proto/flotilla/v1/network';
import { formatIpv4, gatewayOf, parseCidr } from '../domain/ipv4.ts';
import type { NetworkRecord, SandboxRecord } from '../domain/records.ts';

const innerLink = 'eth0';

/** Gateway of a stored subnet; empty without one. */
export function gatewayText(subnet: string | undefined): string {
  const cidr = subnet === undefined ? undefined : parseCidr(subnet);
  return cidr === undefined ? '' : formatIpv4(gatewayOf(cidr));
}

/** A sandbox's place, as callers see it. */
export function toEndpoint({ sandboxId, endpoint }: SandboxRecord, network: NetworkRecord): Endpoint {
  const { endpointId, networkId, place } = endpoint;
  const common = { endpointId, sandboxId, networkId, networkName: network.name };
  if (place === undefined || network.subnet === undefined) return Endpoint.fromPartial(common);
  return Endpoint.fromPartial({
    ...common,
    macAddress: place.mac,
    ipv4Address: `${place.address}/${parseCidr(network.subnet)?.prefixLength}`,
    ipv4Gateway: gatewayText(network.subnet),
    link: innerLink,
  });
}

/** A network with its endpoints. `bridgeLink` is the name that the bridge has once it is there. */
export function toNetwork(network: NetworkRecord, sandboxes: readonly SandboxRecord[], bridgeLink: string): Network {
  const { networkId, name, driver, createdAtUnixNano, subnet } = network;
  return Network.fromPartial({
    networkId,
    name,
    driver,
    createdAtUnixNano,
    subnets: subnet === undefined ? [] : [{ cidr: subnet, gateway: gatewayText(subnet) }],
    link: subnet === undefined ? '' : bridgeLink,
    endpoints: sandboxes
      .filter(({ endpoint }) => endpoint.networkId === networkId)
      .map((sandbox) => toEndpoint(sandbox, network)),
  });
}
