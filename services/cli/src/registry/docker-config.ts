import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** What one registry's entry of Docker's settings says. */
export interface StoredLogin {
  /** `username:password` in base64. */
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
}

/** The part of Docker's client settings that is about registries (`config.json`). */
export interface DockerConfig {
  readonly auths: Readonly<Record<string, StoredLogin>>;
  /** Name of a program for all registries. */
  readonly credsStore: string | undefined;
  /** Names of programs for registries of their own. */
  readonly credHelpers: Readonly<Record<string, string>>;
}

const empty: DockerConfig = { auths: {}, credsStore: undefined, credHelpers: {} };

export function dockerConfigPath(env: NodeJS.ProcessEnv): string {
  return join(env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker'), 'config.json');
}

/** Reads it; one that cannot be read is as good as none, and a warning, as for Docker. */
export function readDockerConfig(path: string, warn: (text: string) => void): DockerConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') warn(`${path} cannot be read: ${message}`);
    return empty;
  }
  try {
    return parseDockerConfig(text);
  } catch (error) {
    warn(`${path} is not understood, so nobody is logged in: ${(error as Error).message}`);
    return empty;
  }
}

export function parseDockerConfig(text: string): DockerConfig {
  const top = object(JSON.parse(text), 'the file');
  const auths = Object.entries(object(top.auths ?? {}, 'auths')).map(([host, entry]) => {
    const login = Object.entries(object(entry, `auths.${host}`)).filter(([, value]) => typeof value === 'string');
    return [host, Object.fromEntries(login)] as const;
  });
  const helpers = Object.entries(object(top.credHelpers ?? {}, 'credHelpers'));
  return {
    auths: Object.fromEntries(auths),
    credsStore: typeof top.credsStore === 'string' && top.credsStore !== '' ? top.credsStore : undefined,
    credHelpers: Object.fromEntries(helpers.map(([host, name]) => [host, String(name)])),
  };
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${name} is no object`);
  return value as Record<string, unknown>;
}
