import { z } from 'zod';
import { defaultUnpackLimits } from './unpack/limits.ts';

const whole = (value: number) => z.coerce.number().int().positive().default(value);

/** Settings of the image service. */
export const configSchema = z.object({
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Entries of one layer. */
  unpackMaxEntries: whole(defaultUnpackLimits.maxEntries),
  /** Unpacked bytes of one layer. */
  unpackMaxBytes: whole(defaultUnpackLimits.maxBytes),
  /** Unpacked to compressed size of one layer, beyond 64 MiB unpacked. */
  unpackMaxRatio: whole(defaultUnpackLimits.maxRatio),
  /** Bytes of one archive that is loaded, once decompressed. */
  loadMaxBytes: whole(512 * 2 ** 30),
});
