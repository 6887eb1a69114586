import { AF_INET, decodeAddress, encodeAddress, familyOf, parsePrefix } from './ip-address.ts';
import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F_CREATE,
  NLM_F_EXCL,
  numberAttribute,
} from './message.ts';
import type { NetlinkSocket } from './netlink-socket.ts';

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_NOPREFIXROUTE = 0x200;
const ifaddrmsgBytes = 8;

/** An address of a link. */
export interface LinkAddress {
  /** Index of the link. */
  readonly link: number;
  /** With the length of the network's prefix: `172.30.0.2/16`. */
  readonly address: string;
}

/** An address to add. */
export interface NewAddress extends LinkAddress {
  /** Without the route to its network that the kernel adds otherwise. */
  readonly noPrefixRoute?: boolean;
}

/** Gives a link an address (IPv4 with its broadcast address). EEXIST when the link has it. */
export function addAddress({ link, address, noPrefixRoute = false }: NewAddress): NetlinkRequest {
  const made = request(RTM_NEWADDR, 'RTM_NEWADDR', NLM_F_CREATE | NLM_F_EXCL, link, address);
  if (!noPrefixRoute) return made;
  return { ...made, body: Buffer.concat([made.body, numberAttribute(IFA_FLAGS, IFA_F_NOPREFIXROUTE)]) };
}

/** Takes an address away. EADDRNOTAVAIL when the link does not have it. */
export function deleteAddress({ link, address }: LinkAddress): NetlinkRequest {
  return request(RTM_DELADDR, 'RTM_DELADDR', 0, link, address);
}

/** All addresses of the socket's namespace, those of one link when `link` is given. */
export function listAddresses(socket: NetlinkSocket, { link }: { readonly link?: number } = {}): LinkAddress[] {
  const dump = { type: RTM_GETADDR, flags: 0, body: Buffer.alloc(ifaddrmsgBytes), what: 'RTM_GETADDR' };
  const all = socket.dump(dump).map(decodeLinkAddress);
  return link === undefined ? all : all.filter((one) => one.link === link);
}

function request(type: number, name: string, flags: number, link: number, text: string): NetlinkRequest {
  const { address, prefixLength } = parsePrefix(text);
  const bytes = encodeAddress(address);
  const header = Buffer.alloc(ifaddrmsgBytes);
  header.writeUInt8(familyOf(address), 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt32LE(link, 4);
  const attributes = [attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes)];
  if (type === RTM_NEWADDR && familyOf(address) === AF_INET && prefixLength < 31) {
    attributes.push(attribute(IFA_BROADCAST, broadcastOf(bytes, prefixLength)));
  }
  return { type, flags, body: Buffer.concat([header, ...attributes]), what: `${name} ${text}` };
}

function broadcastOf(address: Buffer, prefixLength: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((address.readUInt32BE() | (0xffffffff >>> prefixLength)) >>> 0);
  return bytes;
}

function decodeLinkAddress({ body }: NetlinkMessage): LinkAddress {
  const attributes = decodeAttributes(body, ifaddrmsgBytes);
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (bytes === undefined) throw new RangeError('RTM_NEWADDR: an address without bytes');
  return { link: body.readUInt32LE(4), address: `${decodeAddress(bytes)}/${body.readUInt8(1)}` };
}
