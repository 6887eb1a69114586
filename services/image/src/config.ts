import { z } from 'zod';
import { snapshotterNames } from './adapters/snapshotters/snapshotter.ts';
import { defaultUnpackLimits } from './unpack/limits.ts';

const whole = (value: number) => z.coerce.number().int().positive().default(value);

/** Texts with commas between them, or in a settings file an array. */
const list = (values: readonly string[]) =>
  z
    .union([z.array(z.string()), z.string().transform((text) => text.split(',').map((one) => one.trim()))])
    .default([...values])
    .transform((texts) => texts.filter((text) => text !== ''));

/** Settings of the image service. */
export const configSchema = z.object({
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** How layers and containers' roots are kept; without it the root's own, for a new root the best that its file system can. */
  snapshotter: z.enum(snapshotterNames).optional(),
  /** Entries of one layer. */
  unpackMaxEntries: whole(defaultUnpackLimits.maxEntries),
  /** Unpacked bytes of one layer. */
  unpackMaxBytes: whole(defaultUnpackLimits.maxBytes),
  /** Unpacked to compressed size of one layer, beyond 64 MiB unpacked. */
  unpackMaxRatio: whole(defaultUnpackLimits.maxRatio),
  /** Bytes of one archive that is loaded, once decompressed. */
  loadMaxBytes: whole(512 * 2 ** 30),
  /** Bytes of all layers of an image that is pulled, as they come. */
  pullMaxBytes: whole(512 * 2 ** 30),
  /** Registries that need no trusted certificate and may speak plain HTTP: `host`, `host:port`, `10.0.0.0/8`. */
  registryInsecure: list([]),
  /** Asked before a registry: `https://mirror.example` for docker.io, `quay.io=https://mirror.example` for another. */
  registryMirrors: list([]),
  /** Folders with a folder of certificates for each registry. */
  registryCerts: list(['/etc/flotilla/certs.d', '/etc/docker/certs.d']),
  /** A registry that sends nothing for so long has failed. */
  registryStallMs: whole(30_000),
  /** Pause after a first failure of a registry, doubled with each further one in a row. */
  registryRetryMs: whole(500),
  /** Failures in a row before a pull is given up. */
  registryRetries: whole(5),
});
