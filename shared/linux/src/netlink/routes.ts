import { AF_INET, decodeAddress, encodeAddress, familyOf, parsePrefix } from './ip-address.ts';
import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F_CREATE,
  NLM_F_EXCL,
  numberAttribute,
  readNumber,
} from './message.ts';
import type { NetlinkSocket } from './netlink-socket.ts';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const rtmsgBytes = 12;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const RTN_UNICAST = 1;

/** A route of the main table. */
export interface Route {
  /** `172.30.0.0/16`; `0.0.0.0/0` and `::/0` are the default routes. */
  readonly destination: string;
  readonly gateway?: string | undefined;
  /** Index of the link; absent for routes without one. */
  readonly link?: number | undefined;
  /** Address that packets are sent from. */
  readonly source?: string | undefined;
}

/** Adds a route. EEXIST when there is one to that destination, ENETUNREACH when the gateway is on no link. */
export function addRoute(route: Route): NetlinkRequest {
  const scope = route.gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  return request(RTM_NEWROUTE, 'RTM_NEWROUTE', NLM_F_CREATE | NLM_F_EXCL, route, scope);
}

/** Removes a route. ESRCH when there is none like it. */
export function deleteRoute(route: Route): NetlinkRequest {
  return request(RTM_DELROUTE, 'RTM_DELROUTE', 0, route, RT_SCOPE_NOWHERE);
}

/** All unicast routes of the main table of the socket's namespace, IPv4 and IPv6. */
export function listRoutes(socket: NetlinkSocket): Route[] {
  return socket
    .dump({ type: RTM_GETROUTE, flags: 0, body: Buffer.alloc(rtmsgBytes), what: 'RTM_GETROUTE' })
    .map(decodeRoute)
    .filter((route) => route !== undefined);
}

function request(type: number, name: string, flags: number, route: Route, scope: number): NetlinkRequest {
  const { address, prefixLength } = parsePrefix(route.destination);
  const header = Buffer.alloc(rtmsgBytes);
  header.writeUInt8(familyOf(address), 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt8(RT_TABLE_MAIN, 4);
  header.writeUInt8(RTPROT_BOOT, 5);
  header.writeUInt8(scope, 6);
  header.writeUInt8(RTN_UNICAST, 7);
  const attributes: Buffer[] = [];
  if (prefixLength > 0) attributes.push(attribute(RTA_DST, encodeAddress(address)));
  if (route.gateway !== undefined) attributes.push(attribute(RTA_GATEWAY, encodeAddress(route.gateway)));
  if (route.link !== undefined) attributes.push(numberAttribute(RTA_OIF, route.link));
  if (route.source !== undefined) attributes.push(attribute(RTA_PREFSRC, encodeAddress(route.source)));
  return { type, flags, body: Buffer.concat([header, ...attributes]), what: `${name} ${route.destination}` };
}

function decodeRoute({ body }: NetlinkMessage): Route | undefined {
  const attributes = decodeAttributes(body, rtmsgBytes);
  const table = readNumber(attributes, RTA_TABLE) ?? body.readUInt8(4);
  if (table !== RT_TABLE_MAIN || body.readUInt8(7) !== RTN_UNICAST) return undefined;
  const any = body.readUInt8(0) === AF_INET ? '0.0.0.0' : '::';
  const address = (type: number): string | undefined => {
    const bytes = attributes.get(type);
    return bytes === undefined ? undefined : decodeAddress(bytes);
  };
  return {
    destination: `${address(RTA_DST) ?? any}/${body.readUInt8(1)}`,
    gateway: address(RTA_GATEWAY),
    link: readNumber(attributes, RTA_OIF),
    source: address(RTA_PREFSRC),
  };
}
