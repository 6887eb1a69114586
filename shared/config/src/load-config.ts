import { readFileSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { z } from 'zod';

/** Where settings are read from, for tests. */
export interface ConfigSource {
  readonly argv?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Prints the result of `--check-config`. */
  readonly print?: (text: string) => void;
  readonly exit?: (code: number) => never;
}

/** Variables of the whole engine, which no schema of a single service lists. */
const shared = new Set(['FLOTILLA_ROOT', 'FLOTILLA_RUN', 'FLOTILLA_LOG', 'FLOTILLA_NATS_URL', 'FLOTILLA_CONFIG']);

/**
 * Reads a service's settings: flags (`--key-name`) win over variables (`FLOTILLA_KEY_NAME`), over the file (JSON, named by
 * FLOTILLA_CONFIG, an object of settings by service), over the schema's defaults. An unknown flag or key of the file is
 * an error. `--check-config` prints the result and ends the process.
 */
export function loadConfig<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  service: string,
  { argv = process.argv.slice(2), env = process.env, print = console.log, exit = process.exit }: ConfigSource = {},
): Readonly<z.infer<z.ZodObject<Shape>>> {
  const keys = Object.keys(schema.shape);
  const flags = readFlags(keys, argv);
  const { 'check-config': check, ...given } = flags;
  const file = readFile(env.FLOTILLA_CONFIG, service);
  const merged: Record<string, unknown> = { ...file };
  for (const key of keys) {
    const fromEnv = env[variable(key)];
    if (fromEnv !== undefined) merged[key] = fromEnv;
    const fromFlag = given[kebab(key)];
    if (fromFlag !== undefined) merged[key] = fromFlag;
  }
  const parsed = z.strictObject(schema.shape).safeParse(merged);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ') : (issue?.path.join('.') ?? 'settings');
    throw invalidField(`setting ${field}`, `valid (${issue?.message ?? 'not valid'})`);
  }
  if (check === true) {
    print(JSON.stringify(parsed.data, undefined, 2));
    exit(0);
  }
  return Object.freeze(parsed.data) as Readonly<z.infer<z.ZodObject<Shape>>>;
}

function readFlags(keys: readonly string[], argv: readonly string[]): Record<string, string | boolean | undefined> {
  const options = Object.fromEntries(keys.map((key) => [kebab(key), { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...argv], options: { ...options, 'check-config': { type: 'boolean' } } }).values;
  } catch (cause) {
    throw new FlotillaError('invalid_argument', (cause as Error).message, { reason: 'INVALID_FLAG', cause });
  }
}

function readFile(path: string | undefined, service: string): Record<string, unknown> {
  if (path === undefined || path === '') return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new FlotillaError('invalid_argument', `settings file ${path}: ${(cause as Error).message}`, {
      reason: 'INVALID_CONFIG_FILE',
      metadata: { path },
      cause,
    });
  }
  const sections = z.record(z.string(), z.record(z.string(), z.unknown())).safeParse(parsed);
  if (!sections.success) throw invalidField(`settings file ${path}`, 'an object of settings by service');
  return { ...sections.data[service] };
}

function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function variable(key: string): string {
  const name = `FLOTILLA_${kebab(key).replaceAll('-', '_').toUpperCase()}`;
  return shared.has(name) && name !== 'FLOTILLA_LOG' ? '' : name;
}
