import { decodeAddress, decodeMac, encodeAddress, encodeMac, familyOf } from './ip-address.ts';
import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F_CREATE,
  NLM_F_REPLACE,
} from './message.ts';
import type { NetlinkSocket } from './netlink-socket.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;
const ndmsgBytes = 12;

/** An entry of the neighbour table: arp(7). */
export interface Neighbour {
  /** Index of the link. */
  readonly link: number;
  readonly address: string;
  /** Absent while it is not known. */
  readonly mac?: string | undefined;
}

/** Sets a permanent entry, in place of one that is there. */
export function setNeighbour({ link, address, mac }: Required<Neighbour>): NetlinkRequest {
  if (mac === undefined) throw new RangeError(`a permanent neighbour ${address} needs a MAC address`);
  const attributes = [attribute(NDA_DST, encodeAddress(address)), attribute(NDA_LLADDR, encodeMac(mac))];
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: Buffer.concat([ndmsg(link, address, NUD_PERMANENT), ...attributes]),
    what: `RTM_NEWNEIGH ${address}`,
  };
}

/** Removes an entry. ENOENT when it is not there. */
export function deleteNeighbour({ link, address }: Pick<Neighbour, 'link' | 'address'>): NetlinkRequest {
  const body = Buffer.concat([ndmsg(link, address, 0), attribute(NDA_DST, encodeAddress(address))]);
  return { type: RTM_DELNEIGH, flags: 0, body, what: `RTM_DELNEIGH ${address}` };
}

/** All entries of the socket's namespace, IPv4 and IPv6. */
export function listNeighbours(socket: NetlinkSocket): Neighbour[] {
  return socket
    .dump({ type: RTM_GETNEIGH, flags: 0, body: Buffer.alloc(ndmsgBytes), what: 'RTM_GETNEIGH' })
    .map(decodeNeighbour)
    .filter((one) => one !== undefined);
}

/** struct ndmsg of rtnetlink(7). */
function ndmsg(link: number, address: string, state: number): Buffer {
  const header = Buffer.alloc(ndmsgBytes);
  header.writeUInt8(familyOf(address), 0);
  header.writeInt32LE(link, 4);
  header.writeUInt16LE(state, 8);
  return header;
}

function decodeNeighbour({ body }: NetlinkMessage): Neighbour | undefined {
  const attributes = decodeAttributes(body, ndmsgBytes);
  const address = attributes.get(NDA_DST);
  const mac = attributes.get(NDA_LLADDR);
  if (address === undefined) return undefined;
  return {
    link: body.readInt32LE(4),
    address: decodeAddress(address),
    mac: mac === undefined ? undefined : decodeMac(mac),
  };
}
