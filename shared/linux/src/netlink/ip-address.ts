import { isIP } from 'node:net';

export const AF_INET = 2;
export const AF_INET6 = 10;

/** AF_INET or AF_INET6 of an address as text. RangeError when it is neither. */
export function familyOf(address: string): typeof AF_INET | typeof AF_INET6 {
  const version = isIP(address);
  if (version === 0) throw new RangeError(`${JSON.stringify(address)} is not an IP address`);
  return version === 4 ? AF_INET : AF_INET6;
}

/** The 4 or 16 bytes of an address, in network order. */
export function encodeAddress(address: string): Buffer {
  if (familyOf(address) === AF_INET) return Buffer.from(address.split('.').map(Number));
  const [plain = ''] = address.split('%', 1);
  const withGroups = plain.includes('.') ? lastGroupsFromDotted(plain) : plain;
  const [head = '', tail] = withGroups.split('::');
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  const bytes = Buffer.alloc(16);
  for (const [i, group] of all.entries()) bytes.writeUInt16BE(group, i * 2);
  return bytes;
}

/** An address as text; IPv6 in full groups with the longest run of zeros left out (RFC 5952). */
export function decodeAddress(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join('.');
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16)).join(':');
  const runs = groups.match(/\b0(?::0\b)+/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return groups;
  const at = groups.search(new RegExp(`(^|:)${longest}(:|$)`));
  const start = groups[at] === ':' ? at + 1 : at;
  return `${groups.slice(0, start).replace(/:$/, '')}::${groups.slice(start + longest.length).replace(/^:/, '')}`;
}

/** An address with the length of its network's prefix: `172.30.0.2/16`. */
export function parsePrefix(text: string): { readonly address: string; readonly prefixLength: number } {
  const [address = '', length = ''] = text.split('/');
  const most = familyOf(address) === AF_INET ? 32 : 128;
  if (text !== `${address}/${Number(length)}` || Number(length) > most) {
    throw new RangeError(`${JSON.stringify(text)} must be an IP address with a prefix length of at most ${most}`);
  }
  return { address, prefixLength: Number(length) };
}

/** The 6 bytes of `02:42:ac:1e:00:02`. RangeError when it is none. */
export function encodeMac(mac: string): Buffer {
  if (!/^[\da-f]{2}(:[\da-f]{2}){5}$/i.test(mac)) throw new RangeError(`${JSON.stringify(mac)} is not a MAC address`);
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

/** `02:42:ac:1e:00:02`. */
export function decodeMac(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

/** `::ffff:1.2.3.4` → `::ffff:102:304`. */
function lastGroupsFromDotted(address: string): string {
  const at = address.lastIndexOf(':') + 1;
  const bytes = Buffer.from(address.slice(at).split('.').map(Number));
  return `${address.slice(0, at)}${bytes.readUInt16BE(0).toString(16)}:${bytes.readUInt16BE(2).toString(16)}`;
}
