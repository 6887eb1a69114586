import type { ErrorCode } from './flotilla-error.ts';

/** gRPC's numbers of the codes, for messages that carry an error without gRPC. */
export const statusNumbers: Readonly<Record<ErrorCode, number>> = {
  cancelled: 1,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  aborted: 10,
  out_of_range: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
};

/** The code of a number; `internal` for one that is none of ours. */
export function codeOfStatusNumber(number: number): ErrorCode {
  const entries = Object.entries(statusNumbers) as [ErrorCode, number][];
  return entries.find(([, value]) => value === number)?.[0] ?? 'internal';
}
