import { type ErrorCode, FlotillaError } from '@flotilla/errors';

/** Something that may be different a moment later. */
export class TransientError extends Error {
  /** What it is when it stays so. */
  readonly lasting: FlotillaError;
  /** What the registry asked for, if it did. */
  readonly retryAfterMs: number | undefined;

  constructor(lasting: FlotillaError, retryAfterMs?: number) {
    super(lasting.message, { cause: lasting.cause });
    this.lasting = lasting;
    this.retryAfterMs = retryAfterMs;
  }
}

export function unavailable(host: string, problem: string, cause?: unknown): FlotillaError {
  return new FlotillaError('unavailable', `registry ${host} ${problem}`, {
    reason: 'REGISTRY_UNAVAILABLE',
    metadata: { host, problem },
    cause,
  });
}

/** The registry says what no registry may say. */
export function answerInvalid(host: string, problem: string, cause?: unknown): FlotillaError {
  return new FlotillaError('data_loss', `registry ${host} ${problem}`, {
    reason: 'REGISTRY_ANSWER_INVALID',
    metadata: { host, problem },
    cause,
  });
}

export function unauthorized(host: string, problem: string): FlotillaError {
  return new FlotillaError('unauthenticated', `registry ${host} ${problem}`, {
    reason: 'REGISTRY_UNAUTHORIZED',
    metadata: { host, problem },
  });
}

export function untrusted(host: string, problem: string, cause: unknown): FlotillaError {
  return new FlotillaError(
    'failed_precondition',
    `the certificate of ${host} is not trusted (${problem}): put its authority's into a .crt file of the host's folder in certs.d`,
    { reason: 'REGISTRY_UNTRUSTED', metadata: { host, problem }, cause },
  );
}

export function sizeMismatch(digest: string, expected: number, got: string): FlotillaError {
  return new FlotillaError('data_loss', `blob ${digest} should have ${expected} bytes and has ${got}`, {
    reason: 'BLOB_SIZE_MISMATCH',
    metadata: { blob: digest, expected: String(expected), got },
  });
}

/** Content that is not what its digest says, from a registry. */
export function contentMismatch(what: string, expected: string, got: string): FlotillaError {
  return new FlotillaError('data_loss', `${what} should have digest ${expected} and has ${got}`, {
    reason: 'DIGEST_MISMATCH',
    metadata: { blob: what, expected, got },
  });
}

export function mediaTypeUnsupported(what: string, mediaType: string, hint = ''): FlotillaError {
  return new FlotillaError('failed_precondition', `${what} is of type ${mediaType}${hint === '' ? '' : `: ${hint}`}`, {
    reason: 'MEDIA_TYPE_UNSUPPORTED',
    metadata: { what, mediaType },
  });
}

export interface RefusedAnswer {
  readonly host: string;
  /** What was asked for: `manifest 1`, `blob sha256:…`. */
  readonly what: string;
  readonly status: number;
  /** What the registry said, one line or nothing. */
  readonly words: string;
}

/** What an HTTP status other than success means. */
export function refusedByStatus({ host, what, status, words }: RefusedAnswer): FlotillaError {
  const said = words === '' ? '' : `: ${words}`;
  const [code, reason, message] = ((): readonly [ErrorCode, string, string] => {
    if (status === 401)
      return ['unauthenticated', 'REGISTRY_UNAUTHORIZED', `registry ${host} wants a log-in for ${what}`];
    if (status === 403) return ['permission_denied', 'REGISTRY_DENIED', `registry ${host} denies ${what}`];
    if (status === 404 && what.startsWith('manifest')) {
      return ['not_found', 'MANIFEST_UNKNOWN', `registry ${host} has no ${what}`];
    }
    if (status === 404) return ['not_found', 'BLOB_UNKNOWN', `registry ${host} has no ${what}`];
    if (status === 429)
      return ['resource_exhausted', 'REGISTRY_RATE_LIMITED', `registry ${host} allows no more requests`];
    if (status >= 500) return ['unavailable', 'REGISTRY_UNAVAILABLE', `registry ${host} answers ${status} for ${what}`];
    return ['data_loss', 'REGISTRY_ANSWER_INVALID', `registry ${host} answers ${status} for ${what}`];
  })();
  return new FlotillaError(code, message + said, {
    reason,
    metadata: { host, what, status: String(status), ...(words === '' ? {} : { words }) },
  });
}

/** Says which image and layer an error is about. Errors of callers and bugs pass. */
export function about(error: unknown, image: string, layer?: string): unknown {
  if (!(error instanceof FlotillaError) || error.code === 'cancelled' || error.reason === 'SERVICE_STOPPING')
    return error;
  if (error.metadata.image !== undefined) return error;
  const where = layer === undefined ? '' : `layer ${layer.slice('sha256:'.length, 'sha256:'.length + 12)}: `;
  return new FlotillaError(error.code, `${image}: ${where}${error.message}`, {
    reason: error.reason,
    metadata: { ...error.metadata, image, ...(layer === undefined ? {} : { layer }) },
    cause: error,
  });
}
