import { type ListNetworksRequest, NetworkServiceService } from '@flotilla/proto/flotilla/v1/network';
import { type Implementation, implement } from '@flotilla/rpc';
import type { Networks } from '../domain/networks.ts';
import type { NetworkRecord } from '../domain/records.ts';
import type { Sandboxes } from '../domain/sandboxes.ts';
import { toNetwork } from './to-proto.ts';

/** flotilla.v1.NetworkService. Networks of users are not there yet: making and joining them answers UNIMPLEMENTED. */
export function networkService(networks: Networks, sandboxes: Sandboxes, bridgeLink: string): Implementation {
  return implement(NetworkServiceService, {
    getNetwork: async ({ network }) => ({
      network: toNetwork(networks.get(network), sandboxes.list(), bridgeLink),
    }),
    listNetworks: async (request) => {
      const all = sandboxes.list();
      const chosen = networks.list().filter((network) => matches(network, request));
      return { networks: chosen.map((network) => toNetwork(network, all, bridgeLink)) };
    },
    removeNetwork: async ({ network }) => networks.remove(network),
  });
}

/** No network has labels yet. */
function matches({ name, driver }: NetworkRecord, { names, drivers, labels }: ListNetworksRequest): boolean {
  const named = names.length === 0 || names.some((part) => name.includes(part));
  return named && (drivers.length === 0 || drivers.includes(driver)) && labels.length === 0;
}
