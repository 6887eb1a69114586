/** gRPC's own names for what went wrong. */
export const errorCodes = [
  'cancelled',
  'invalid_argument',
  'deadline_exceeded',
  'not_found',
  'already_exists',
  'permission_denied',
  'resource_exhausted',
  'failed_precondition',
  'aborted',
  'out_of_range',
  'unimplemented',
  'internal',
  'unavailable',
  'data_loss',
  'unauthenticated',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export interface FlotillaErrorDetails {
  /** UPPER_SNAKE_CASE, permanent: what programs compare with. */
  readonly reason: string;
  /** Every variable part of the message. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** A failure that a caller can act on. Anything else that is thrown is a bug and travels as `internal`. */
export class FlotillaError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, { reason, metadata = {}, cause }: FlotillaErrorDetails) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'FlotillaError';
    this.code = code;
    this.reason = reason;
    this.metadata = metadata;
  }
}

/** A request's field is not what it must be. `expected` completes the sentence "must be …". */
export function invalidField(field: string, expected: string, got?: string): FlotillaError {
  const shown = got === undefined ? '' : `, not ${JSON.stringify(got.length > 200 ? `${got.slice(0, 200)}…` : got)}`;
  return new FlotillaError('invalid_argument', `${field} must be ${expected}${shown}`, {
    reason: 'INVALID_FIELD',
    metadata: { field, expected, ...(got === undefined ? {} : { got: got.slice(0, 200) }) },
  });
}

/** Whether an error is the one with this reason. */
export function hasReason(error: unknown, reason: string): error is FlotillaError {
  return error instanceof FlotillaError && error.reason === reason;
}
