import { invalidField } from '@flotilla/errors';

const powers: Readonly<Record<string, number>> = { '': 0, b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/**
 * Reads a size as Docker does: a number, fractions allowed, and a unit of 1024: `512m`, `1.5g`, `64KiB`, `100`.
 * Returns bytes. `field` is the flag, for the error.
 */
export function parseSize(field: string, text: string): bigint {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text);
  const power = powers[(match?.[2] ?? '').toLowerCase()];
  if (match?.[1] === undefined || power === undefined) {
    throw invalidField(field, 'a size in bytes with an optional unit of b, k, m, g, t or p, such as 512m', text);
  }
  const bytes = scaleDecimal(match[1], 1024n ** BigInt(power));
  if (bytes > 0x7fff_ffff_ffff_ffffn) throw invalidField(field, 'a size below 8 EiB', text);
  return bytes;
}

/** A size that may also be -1, which means no limit. */
export function parseSizeOrUnlimited(field: string, text: string): bigint {
  return text === '-1' ? -1n : parseSize(field, text);
}

/** Multiplies a decimal such as `1.5` without the errors of floating point; what is left below one is cut off. */
export function scaleDecimal(decimal: string, factor: bigint): bigint {
  const [whole = '0', fraction = ''] = decimal.split('.');
  return BigInt(whole) * factor + (BigInt(fraction || '0') * factor) / 10n ** BigInt(fraction.length);
}
