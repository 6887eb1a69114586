import { execFile } from 'node:child_process';
import { FlotillaError, invalidField } from '@flotilla/errors';

const timeoutMs = 10_000;
const mostOutputBytes = 16 << 20;
/** No locale and no settings of a person's: the columns are those of the arguments. */
const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };

/** What ps(1) prints. INVALID_FIELD for arguments that it refuses, FAILED_PRECONDITION / PS_MISSING without it. */
export function runPs(args: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      env,
      cwd: '/',
      signal,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: mostOutputBytes,
    } as const;
    const child = execFile('ps', args, options, (error, stdout, stderr) => {
      // It ends with 1 when nothing was chosen, but prints the heads.
      if (error === null || (error.code === 1 && stdout !== '' && stderr === '')) resolve(stdout);
      else reject(explain(error, args, stderr));
    });
    child.stdin?.end();
  });
}

type Failure = Error & { readonly code?: string | number | null; readonly killed?: boolean };

function explain(error: Failure, args: readonly string[], stderr: string): Error {
  if (error.code === 'ENOENT') {
    return new FlotillaError('failed_precondition', 'this host has no ps: install the package procps', {
      reason: 'PS_MISSING',
      metadata: { package: 'procps' },
      cause: error,
    });
  }
  if (error.code === 'ABORT_ERR') return new FlotillaError('cancelled', 'cancelled', { reason: 'CANCELLED' });
  if (typeof error.code === 'number') {
    const said = stderr.split('\n').find((line) => line.trim() !== '') ?? `it ended with ${error.code}`;
    return invalidField('ps_args', `arguments that ps takes (${said.trim().replace(/^error: /, '')})`, args.join(' '));
  }
  const limits = { seconds: String(timeoutMs / 1000), bytes: String(mostOutputBytes) };
  return new FlotillaError('resource_exhausted', `ps took longer than ${limits.seconds} s or printed too much`, {
    reason: 'PS_TOO_MUCH',
    metadata: limits,
    cause: error,
  });
}
