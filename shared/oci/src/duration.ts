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

/** Reads a duration as Go writes it (`1h30m`, `1.5s`, `300ms`). Returns nanoseconds, or undefined when it is none or an int64 cannot hold it. */
export function findDuration(text: string): bigint | undefined {
  if (text === '0') return 0n;
  if (!/^(\d+(\.\d+)?(ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  let nanos = 0n;
  for (const [, whole = '0', fraction = '', unit = 'ns'] of text.matchAll(/(\d+)(?:\.(\d+))?(ns|us|µs|μs|ms|s|m|h)/g)) {
    const factor = unitNanos[unit] ?? 1n;
    nanos += BigInt(whole) * factor + (BigInt(fraction || '0') * factor) / 10n ** BigInt(fraction.length);
  }
  return nanos < 1n << 63n ? nanos : undefined;
}
