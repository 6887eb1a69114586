import { isIPv4 } from 'node:net';
import { invalidField } from '@flotilla/errors';

/** A range of IPv4 addresses; addresses are unsigned 32-bit numbers. */
export interface Cidr {
  /** Lowest address. */
  readonly base: number;
  readonly prefixLength: number;
}

/** The number of an address, `undefined` when the text is none. */
export function parseIpv4(text: string): number | undefined {
  if (!isIPv4(text)) return undefined;
  return text.split('.').reduce((number, part) => number * 256 + Number(part), 0);
}

/** `172.30.0.2`. */
export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** `172.30.0.0/16`; bits below the prefix are cleared. `undefined` when the text is no IPv4 range. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length = ''] = text.split('/');
  const number = parseIpv4(address);
  const prefixLength = Number(length);
  if (number === undefined || text !== `${address}/${prefixLength}` || prefixLength > 32) return undefined;
  return { base: number - (number % sizeOf({ prefixLength })), prefixLength };
}

/** `172.30.0.0/16`. */
export function formatCidr({ base, prefixLength }: Cidr): string {
  return `${formatIpv4(base)}/${prefixLength}`;
}

/** Number of addresses. */
export function sizeOf({ prefixLength }: Pick<Cidr, 'prefixLength'>): number {
  return 2 ** (32 - prefixLength);
}

export function contains(cidr: Cidr, address: number): boolean {
  return address >= cidr.base && address < cidr.base + sizeOf(cidr);
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return contains(a, b.base) || contains(b, a.base);
}

/** The first address of a range is its gateway. */
export function gatewayOf(cidr: Cidr): number {
  return cidr.base + 1;
}

/** MAC address of an IPv4 address, locally administered: unique where the address is. */
export function macOf(address: number): string {
  const hex = address.toString(16).padStart(8, '0');
  return `02:42:${hex.match(/../g)?.join(':')}`;
}

/** Ranges as the setting `subnets` lists them. INVALID_FIELD names the one that is none. */
export function parseCidrs(list: string): Cidr[] {
  return list.split(',').map((text) => {
    const cidr = parseCidr(text.trim());
    if (cidr === undefined || cidr.prefixLength > 29) {
      throw invalidField('setting subnets', 'IPv4 ranges of at least 8 addresses, separated by commas', text);
    }
    return cidr;
  });
}
