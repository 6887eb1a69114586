import { asDiskFull, type ErrorCode, FlotillaError } from '@flotilla/errors';
import { Any } from '@flotilla/proto/google/protobuf/any';
import { ErrorInfo } from '@flotilla/proto/google/rpc/error_details';
import { Status } from '@flotilla/proto/google/rpc/status';
import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';

/** `domain` of our ErrorInfo. */
const domain = 'flotilla';
const errorInfoType = 'type.googleapis.com/google.rpc.ErrorInfo';
const detailsKey = 'grpc-status-details-bin';

const grpcCodes: Readonly<Record<ErrorCode, status>> = {
  cancelled: status.CANCELLED,
  invalid_argument: status.INVALID_ARGUMENT,
  deadline_exceeded: status.DEADLINE_EXCEEDED,
  not_found: status.NOT_FOUND,
  already_exists: status.ALREADY_EXISTS,
  permission_denied: status.PERMISSION_DENIED,
  resource_exhausted: status.RESOURCE_EXHAUSTED,
  failed_precondition: status.FAILED_PRECONDITION,
  aborted: status.ABORTED,
  out_of_range: status.OUT_OF_RANGE,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
  unavailable: status.UNAVAILABLE,
  data_loss: status.DATA_LOSS,
  unauthenticated: status.UNAUTHENTICATED,
};
const errorCodes = new Map(Object.entries(grpcCodes).map(([code, number]) => [number, code as ErrorCode]));

/**
 * What a failed call answers. The message of a bug stays here: the caller gets `internal` and the id to look for. A full
 * disk is no bug, wherever it was hit.
 */
export function toGrpcStatus(error: unknown, requestId: string): StatusObject {
  const known =
    error instanceof FlotillaError
      ? error
      : (asDiskFull(error) ??
        new FlotillaError('internal', `internal error; the service's log has it under request ${requestId}`, {
          reason: 'INTERNAL',
          metadata: { requestId },
        }));
  const code = grpcCodes[known.code];
  const info = ErrorInfo.fromPartial({ reason: known.reason, domain, metadata: { ...known.metadata } });
  const details = Any.fromPartial({ typeUrl: errorInfoType, value: Buffer.from(ErrorInfo.encode(info).finish()) });
  const metadata = new Metadata();
  const encoded = Status.encode(Status.fromPartial({ code, message: known.message, details: [details] })).finish();
  metadata.set(detailsKey, Buffer.from(encoded));
  return { code, details: known.message, metadata };
}

export interface CallFacts {
  /** The service that was called. */
  readonly service: string;
  readonly deadlineMs?: number | undefined;
  /** The caller cancelled the call itself. Otherwise a cancellation comes from a server that was shut down. */
  readonly cancelledByCaller?: boolean;
}

/**
 * What a caller sees of a failed call: the error as it was thrown over there; or, when nobody over there said anything,
 * UNAVAILABLE / SERVICE_UNAVAILABLE with the service's name.
 */
export function fromGrpcError(
  error: ServiceError,
  { service, deadlineMs, cancelledByCaller }: CallFacts,
): FlotillaError {
  const code = errorCodes.get(error.code) ?? 'internal';
  const info = readErrorInfo(error.metadata);
  if (info !== undefined) {
    return new FlotillaError(code, error.details, { reason: info.reason, metadata: info.metadata, cause: error });
  }
  if (code === 'deadline_exceeded') {
    const within = deadlineMs === undefined ? 'in time' : `within ${Math.round(deadlineMs / 100) / 10} s`;
    return new FlotillaError('unavailable', `the ${service} service did not answer ${within}`, {
      reason: 'SERVICE_UNAVAILABLE',
      metadata: { service, ...(deadlineMs === undefined ? {} : { deadlineMs: String(deadlineMs) }) },
      cause: error,
    });
  }
  if (code === 'unavailable' || (code === 'cancelled' && cancelledByCaller === false)) {
    return new FlotillaError('unavailable', `the ${service} service cannot be reached: ${error.details}`, {
      reason: 'SERVICE_UNAVAILABLE',
      metadata: { service },
      cause: error,
    });
  }
  const reason = code.toUpperCase();
  return new FlotillaError(code, error.details, { reason, metadata: { service }, cause: error });
}

function readErrorInfo(metadata: Metadata | undefined): ErrorInfo | undefined {
  const [bytes] = metadata?.get(detailsKey) ?? [];
  if (!Buffer.isBuffer(bytes)) return undefined;
  try {
    const detail = Status.decode(bytes).details.find(({ typeUrl }) => typeUrl === errorInfoType);
    return detail === undefined ? undefined : ErrorInfo.decode(detail.value);
  } catch {
    return undefined; // Not ours: the code and the text are all there is.
  }
}
