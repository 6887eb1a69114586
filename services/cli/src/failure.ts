import { FlotillaError } from '@flotilla/errors';

/** Exit codes of Docker's client. */
export const exitCodes = { failed: 1, engine: 125, notExecutable: 126, notFound: 127 } as const;

/** Ends the client with an exit code, after what there was to say has been said. */
export class ExitRequest extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** The exit code of an error: of a command that cannot run, Docker's; else the given one. */
export function exitCodeOf(error: unknown, otherwise: number): number {
  if (!(error instanceof FlotillaError)) return otherwise;
  if (error.reason === 'COMMAND_NOT_FOUND') return exitCodes.notFound;
  if (error.reason === 'COMMAND_NOT_EXECUTABLE') return exitCodes.notExecutable;
  return otherwise;
}

/** Whether a flag's value is wrong: found here, before the engine was asked. */
export function isUsage(error: unknown): boolean {
  return error instanceof FlotillaError && String(error.metadata.field).startsWith('--');
}

/** One line about an error. */
export function describe(error: unknown): string {
  if (error instanceof FlotillaError) return oneLine(error.message);
  if (error instanceof Error) return oneLine(`${error.message}`);
  return oneLine(String(error));
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

/** Says on standard error what went wrong. */
export function complain(error: unknown): void {
  process.stderr.write(`flotilla: ${describe(error)}\n`);
}

/** Says on standard error what the user should know. */
export function warn(text: string): void {
  process.stderr.write(`WARNING: ${oneLine(text)}\n`);
}
