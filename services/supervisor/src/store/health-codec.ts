import type { Health, Probe } from '../domain/health/health.ts';

/** As it is stored: JSON has no bigint. */
export type StoredHealth = Omit<Health, 'probes'> & { readonly probes: readonly StoredProbe[] };

type StoredProbe = Omit<Probe, 'startedAtUnixNano' | 'endedAtUnixNano'> & {
  readonly startedAtUnixNano: string;
  readonly endedAtUnixNano: string;
};

export function encodeHealth(health: Health | undefined): StoredHealth | undefined {
  return health && { ...health, probes: health.probes.map(encodeProbe) };
}

function encodeProbe({ startedAtUnixNano, endedAtUnixNano, ...probe }: Probe): StoredProbe {
  return { ...probe, startedAtUnixNano: String(startedAtUnixNano), endedAtUnixNano: String(endedAtUnixNano) };
}

export function decodeHealth(stored: StoredHealth | undefined): Health | undefined {
  return stored && { ...stored, probes: stored.probes.map(decodeProbe) };
}

function decodeProbe({ startedAtUnixNano, endedAtUnixNano, ...probe }: StoredProbe): Probe {
  return { ...probe, startedAtUnixNano: BigInt(startedAtUnixNano), endedAtUnixNano: BigInt(endedAtUnixNano) };
}
