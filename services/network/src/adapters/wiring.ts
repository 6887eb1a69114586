import { writeFileSync } from 'node:fs';
import { invalidField } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';
import {
  addAddress,
  addRoute,
  addVethPair,
  getLink,
  insideNetworkNamespace,
  type NetlinkSocket,
  setBridgePort,
  setLink,
} from '@flotilla/linux/netlink';
import { formatIpv4, gatewayOf } from '../domain/ipv4.ts';
import type { BridgePlace } from '../domain/records.ts';
import type { BridgeState } from './bridge.ts';
import { disableIpv6 } from './host-settings.ts';
import type { Namespace } from './namespace.ts';

/** Name of the link in a sandbox. */
export const innerLink = 'eth0';

/** Gives a namespace its link to the bridge, with address and default route. */
export function wire(host: NetlinkSocket, bridge: BridgeState, namespace: Namespace, place: BridgePlace): void {
  const { hostLink, address, mac } = place;
  const { index: master, mtu, subnet } = bridge;
  const peer = { name: innerLink, netnsFd: namespace.fd, mac, mtu };
  host.execute(addVethPair({ name: hostLink, master, mtu, peer }));
  disableIpv6(hostLink);
  enablePort(host, getLink(host, { name: hostLink }).index, master);
  const { index: link } = getLink(namespace.socket, { name: innerLink });
  namespace.socket.execute(
    setLink({ index: link }, { up: true }),
    addAddress({ link, address: `${address}/${subnet.prefixLength}` }),
    addRoute({ destination: '0.0.0.0/0', gateway: formatIpv4(gatewayOf(subnet)), link }),
  );
}

/** Makes a link an open port of the bridge. Hairpin: a container reaches its own published ports through it. */
export function enablePort(host: NetlinkSocket, index: number, master: number): void {
  host.execute(setLink({ index }, { up: true, master }), setBridgePort({ index }, { hairpin: true }));
}

/** Sets kernel parameters of a namespace: `net.ipv4.tcp_syncookies`. INVALID_FIELD for what the kernel refuses. */
export function setSysctls({ fd }: Namespace, sysctls: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(sysctls)) {
    const field = `spec.sysctls[${name}]`;
    try {
      insideNetworkNamespace(fd, () => writeFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, value, { flag: 'r+' }));
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'EACCES', 'EPERM', 'ENOTDIR', 'EISDIR')) {
        throw invalidField(field, 'a parameter that this kernel has for each network namespace');
      }
      if (isErrno(error, 'EINVAL', 'ERANGE', 'EDOM')) throw invalidField(field, 'a value that the kernel takes', value);
      throw error;
    }
  }
}
