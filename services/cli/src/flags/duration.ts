import { invalidField } from '@flotilla/errors';
import { scaleDecimal } from './size.ts';

const unitNanos: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** Reads a duration as Go writes it (`1h30m`, `1.5s`, `300ms`). Returns nanoseconds, or undefined when it is none. */
export function findDuration(text: string): bigint | undefined {
  if (text === '0') return 0n;
  if (!/^(\d+(\.\d+)?(ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  let nanos = 0n;
  for (const [, number = '0', unit = 'ns'] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h)/g)) {
    nanos += scaleDecimal(number, unitNanos[unit] ?? 1n);
  }
  return nanos;
}

/** As findDuration, but anything else is an error that names the flag. */
export function parseDuration(field: string, text: string): bigint {
  const nanos = findDuration(text);
  if (nanos === undefined) throw invalidField(field, 'a duration such as 30s, 1m30s or 500ms', text);
  return nanos;
}
