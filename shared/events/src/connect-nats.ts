import { FlotillaError } from '@flotilla/errors';
import { type ConnectionOptions, connect, type NatsConnection } from 'nats';

/** Connects to NATS; credentials are part of the URL. UNAVAILABLE / NATS_UNREACHABLE, without the credentials. */
export async function connectNats(url: string, options: ConnectionOptions = {}): Promise<NatsConnection> {
  const { username, password, host } = new URL(url);
  try {
    return await connect({
      servers: host,
      ...(username === '' ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) }),
      timeout: 2_000,
      ...options,
    });
  } catch (cause) {
    throw natsUnreachable(host, cause);
  }
}

export function natsUnreachable(host: string, cause?: unknown): FlotillaError {
  return new FlotillaError('unavailable', `NATS at ${host} cannot be reached`, {
    reason: 'NATS_UNREACHABLE',
    metadata: { host },
    cause,
  });
}
