/** What a series of measurements says. */
export interface Summary {
  readonly p50: number;
  readonly p95: number;
  readonly count: number;
}

/** Median and 95th percentile, by the nearest rank. */
export function summarise(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return { p50: rank(0.5), p95: rank(0.95), count: sorted.length };
}

/** Milliseconds that a piece of work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/**
 * Measures all of them alternately, so that whatever else the machine does hits all alike; the first round warms up and
 * does not count.
 */
export async function interleave(
  subjects: Readonly<Record<string, (() => Promise<unknown>) | undefined>>,
  rounds: number,
): Promise<Readonly<Record<string, Summary>>> {
  const present = Object.entries(subjects).flatMap(([name, work]) => (work === undefined ? [] : [{ name, work }]));
  const times = new Map(present.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const { name, work } of present) {
      const ms = await timed(work);
      if (round > 0) times.get(name)?.push(ms);
    }
  }
  return Object.fromEntries([...times].map(([name, values]) => [name, summarise(values)]));
}
