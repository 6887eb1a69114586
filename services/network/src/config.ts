import { z } from 'zod';

const defaultSubnets = [
  ...[30, 31, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18].map((second) => `172.${second}.0.0/16`),
  ...Array.from({ length: 15 }, (_, i) => `192.168.${(15 - i) * 16}.0/20`),
  ...Array.from({ length: 32 }, (_, i) => `10.${213 + i}.0.0/16`),
].join();

/** Settings of the network service. */
export const configSchema = z.object({
  /** pino level: FLOTILLA_LOG. */
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Address ranges for the network `bridge`, separated by commas: the first that the host does not use is taken. */
  subnets: z.string().default(defaultSubnets),
  /** MTU of containers' links; 0 takes that of the host's default route. */
  mtu: z.coerce
    .number()
    .int()
    .refine((mtu) => mtu === 0 || (mtu >= 576 && mtu <= 65_535), '0, or 576 to 65535')
    .default(0),
  /** Network namespaces kept ready. */
  warmNamespaces: z.coerce.number().int().min(0).max(256).default(8),
});
