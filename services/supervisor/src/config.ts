import { z } from 'zod';

/** Settings of the supervisor. */
export const configSchema = z.object({
  /** pino level: FLOTILLA_LOG. */
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Deadline of calls to the other services, milliseconds: below callers' usual 10 s, so that they hear who is away. */
  deadlineMs: z.coerce.number().int().min(100).max(600_000).default(8_000),
  /** How often containers whose shim is gone are looked at, milliseconds. */
  monitorMs: z.coerce.number().int().min(100).max(60_000).default(1_000),
  /** Where systemd-journald takes entries, for the log driver journald. */
  journalSocket: z.string().startsWith('/').default('/run/systemd/journal/socket'),
});
