import type { Volume } from '@flotilla/proto/flotilla/v1/volume';
import type { Row } from './table.ts';

const scope = 'local';
/** What only clusters, and Docker's measuring of disks, would say. */
const unsaid = 'N/A';

/** A volume in a list, with Docker's fields. */
export function volumeRow({ driver, name, mountpoint, labels }: Volume): Row {
  return {
    Availability: unsaid,
    Driver: driver,
    Group: unsaid,
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Links: unsaid,
    Mountpoint: mountpoint,
    Name: name,
    Scope: scope,
    Size: unsaid,
    Status: unsaid,
  };
}

/** A volume as Docker's `volume inspect` prints it. */
export function volumeDocument({ createdAtUnixNano, driver, labels, mountpoint, name, options }: Volume): object {
  return {
    CreatedAt: new Date(Number(createdAtUnixNano / 1_000_000n)).toISOString().replace(/\.\d+Z$/, 'Z'),
    Driver: driver,
    Labels: orNull(labels),
    Mountpoint: mountpoint,
    Name: name,
    Options: orNull(options),
    Scope: scope,
  };
}

function orNull(pairs: Readonly<Record<string, string>>): Readonly<Record<string, string>> | null {
  const entries = Object.entries(pairs).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? null : Object.fromEntries(entries);
}
