import { decodeMac, encodeMac } from './ip-address.ts';
import {
  type Attribute,
  attribute,
  byteAttribute,
  container,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F_CREATE,
  NLM_F_EXCL,
  nested,
  numberAttribute,
  readNumber,
  readText,
  textAttribute,
} from './message.ts';
import type { NetlinkSocket } from './netlink-socket.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;

const AF_UNSPEC = 0;
const AF_BRIDGE = 7;
const IFF_UP = 1;
/** Counters of virtual functions and such make answers long: not wanted. */
const RTEXT_FILTER_SKIP_STATS = 8;
/** IFNAMSIZ without the terminating zero; IFALIASZ likewise. */
const longestName = 15;
const longestAlias = 255;
const ifinfomsgBytes = 16;

/** A network interface, as rtnetlink(7) calls it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, …; empty for real devices and `lo`. */
  readonly kind: string;
  readonly up: boolean;
  readonly mtu: number;
  /** Absent for links without one. */
  readonly mac: string | undefined;
  /** Index of the bridge it is a port of. */
  readonly master: number | undefined;
  readonly alias: string | undefined;
}

/** What can be set at a link. */
export interface LinkSettings {
  readonly name?: string;
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  /** Index of a bridge; 0 for none. */
  readonly master?: number;
  /** Moves it into another network namespace, where it is down. */
  readonly netnsFd?: number;
  /** Free text, at most 255 bytes. */
  readonly alias?: string;
}

/** Settings that a link can be born with. */
export type NewLink = Omit<LinkSettings, 'name' | 'alias'> & { readonly name: string };

/** One end of a pair, the other end: each may be born in a namespace of its own. The other end is born down. */
export interface VethPair extends NewLink {
  readonly peer: Omit<NewLink, 'up'>;
}

/** How to find a link. */
export type LinkKey = { readonly index: number } | { readonly name: string };

/** Makes a veth(4) pair. EEXIST when a name is taken. */
export function addVethPair({ peer, ...link }: VethPair): NetlinkRequest {
  const data = container(VETH_INFO_PEER, ifinfomsg({}), ...settingAttributes(peer));
  return addLink(link, 'veth', [nested(IFLA_INFO_DATA, data)]);
}

/** Makes a bridge. */
export function addBridge(link: NewLink): NetlinkRequest {
  return addLink(link, 'bridge');
}

/** Makes a dummy: a link that swallows what is sent. ENOTSUP (EOPNOTSUPP) on kernels without it. */
export function addDummy(link: NewLink): NetlinkRequest {
  return addLink(link, 'dummy');
}

/** Changes a link. ENODEV when it is not there. */
export function setLink(key: LinkKey, settings: LinkSettings): NetlinkRequest {
  const attributes = [...keyAttributes(key), ...settingAttributes(settings)];
  const header = ifinfomsg({ index: indexOf(key), up: settings.up });
  // SETLINK takes no new name together with the name that finds the link.
  if (settings.name !== undefined && !('index' in key)) throw new RangeError('a link is renamed by its index');
  return { type: RTM_SETLINK, flags: 0, body: Buffer.concat([header, ...attributes]), what: `RTM_SETLINK ${say(key)}` };
}

/** Settings of a link as a port of a bridge. */
export interface BridgePortSettings {
  /** Frames may leave through the port they came in by. */
  readonly hairpin?: boolean;
  /** Isolated ports do not reach one another. */
  readonly isolated?: boolean;
}

/** Changes a link that has a bridge as master. */
export function setBridgePort(key: LinkKey, { hairpin, isolated }: BridgePortSettings): NetlinkRequest {
  const port: Attribute[] = [];
  if (hairpin !== undefined) port.push(byteAttribute(IFLA_BRPORT_MODE, hairpin ? 1 : 0));
  if (isolated !== undefined) port.push(byteAttribute(IFLA_BRPORT_ISOLATED, isolated ? 1 : 0));
  const header = ifinfomsg({ family: AF_BRIDGE, index: indexOf(key) });
  const body = Buffer.concat([header, ...keyAttributes(key), nested(IFLA_PROTINFO, ...port)]);
  return { type: RTM_SETLINK, flags: 0, body, what: `RTM_SETLINK ${say(key)}` };
}

/** Removes a link, both ends of a pair. ENODEV when it is not there. Waits for a grace period of the kernel (10 to 50 ms). */
export function deleteLink(key: LinkKey): NetlinkRequest {
  const body = Buffer.concat([ifinfomsg({ index: indexOf(key) }), ...keyAttributes(key)]);
  return { type: RTM_DELLINK, flags: 0, body, what: `RTM_DELLINK ${say(key)}` };
}

/** All links of the socket's namespace. */
export function listLinks(socket: NetlinkSocket): Link[] {
  const body = Buffer.concat([ifinfomsg({}), skipStatistics()]);
  return socket.dump({ type: RTM_GETLINK, flags: 0, body, what: 'RTM_GETLINK' }).map(decodeLink);
}

/** One link. ENODEV when it is not there. */
export function getLink(socket: NetlinkSocket, key: LinkKey): Link {
  const body = Buffer.concat([ifinfomsg({ index: indexOf(key) }), ...keyAttributes(key), skipStatistics()]);
  return decodeLink(socket.get({ type: RTM_GETLINK, flags: 0, body, what: `RTM_GETLINK ${say(key)}` }));
}

function addLink(link: NewLink, kind: string, data: readonly Attribute[] = []): NetlinkRequest {
  const info = nested(IFLA_LINKINFO, textAttribute(IFLA_INFO_KIND, kind, longestName), ...data);
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: Buffer.concat([ifinfomsg({ up: link.up }), ...settingAttributes(link), info]),
    what: `RTM_NEWLINK ${link.name}`,
  };
}

interface InterfaceHeader {
  readonly family?: number;
  readonly index?: number;
  readonly up?: boolean | undefined;
}

/** struct ifinfomsg of rtnetlink(7). */
function ifinfomsg({ family = AF_UNSPEC, index = 0, up }: InterfaceHeader): Buffer {
  const header = Buffer.alloc(ifinfomsgBytes);
  header.writeUInt8(family, 0);
  header.writeInt32LE(index, 4);
  if (up !== undefined) {
    header.writeUInt32LE(up ? IFF_UP : 0, 8);
    header.writeUInt32LE(IFF_UP, 12);
  }
  return header;
}

function settingAttributes({ name, mac, mtu, master, netnsFd, alias }: LinkSettings): Attribute[] {
  const attributes: Attribute[] = [];
  if (name !== undefined) attributes.push(nameAttribute(name));
  if (mac !== undefined) attributes.push(attribute(IFLA_ADDRESS, encodeMac(mac)));
  if (mtu !== undefined) attributes.push(numberAttribute(IFLA_MTU, mtu));
  if (master !== undefined) attributes.push(numberAttribute(IFLA_MASTER, master));
  if (netnsFd !== undefined) attributes.push(numberAttribute(IFLA_NET_NS_FD, netnsFd));
  if (alias !== undefined) attributes.push(textAttribute(IFLA_IFALIAS, alias, longestAlias));
  return attributes;
}

function nameAttribute(name: string): Attribute {
  if (name === '' || /[/\s]/.test(name)) throw new RangeError(`${JSON.stringify(name)} is no name for a link`);
  return textAttribute(IFLA_IFNAME, name, longestName);
}

function keyAttributes(key: LinkKey): Attribute[] {
  return 'name' in key ? [nameAttribute(key.name)] : [];
}

function indexOf(key: LinkKey): number {
  return 'index' in key ? key.index : 0;
}

function say(key: LinkKey): string {
  return 'index' in key ? `index ${key.index}` : key.name;
}

function skipStatistics(): Attribute {
  return numberAttribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

function decodeLink({ body }: NetlinkMessage): Link {
  const attributes = decodeAttributes(body, ifinfomsgBytes);
  const info = attributes.get(IFLA_LINKINFO);
  const mac = attributes.get(IFLA_ADDRESS);
  return {
    index: body.readInt32LE(4),
    name: readText(attributes, IFLA_IFNAME) ?? '',
    kind: (info === undefined ? undefined : readText(decodeAttributes(info), IFLA_INFO_KIND)) ?? '',
    up: (body.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: readNumber(attributes, IFLA_MTU) ?? 0,
    mac: mac === undefined || mac.length === 0 ? undefined : decodeMac(mac),
    master: readNumber(attributes, IFLA_MASTER),
    alias: readText(attributes, IFLA_IFALIAS),
  };
}
