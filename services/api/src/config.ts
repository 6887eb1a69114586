import { z } from 'zod';

/** Settings of the api. */
export const configSchema = z.object({
  /** pino level: FLOTILLA_LOG. */
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Deadline of calls that come without one, milliseconds. */
  deadlineMs: z.coerce.number().int().min(100).max(600_000).default(10_000),
  /** How long a wait or a log that was under way is kept for while its owner is away, milliseconds. */
  resumeMs: z.coerce.number().int().min(0).max(3_600_000).default(60_000),
});
