import { invalidField } from '@flotilla/errors';
import { InsecureHosts } from './insecure-hosts.ts';
import type { Mirror, RegistrySettings } from './settings.ts';

/** What the service's settings say of registries. */
export interface RegistryConfig {
  readonly pullMaxBytes: number;
  readonly registryInsecure: readonly string[];
  readonly registryMirrors: readonly string[];
  readonly registryCerts: readonly string[];
  readonly registryStallMs: number;
  readonly registryRetryMs: number;
  readonly registryRetries: number;
}

/** Checks them. INVALID_FIELD names the setting. */
export function registrySettings(config: RegistryConfig, env: NodeJS.ProcessEnv): RegistrySettings {
  return {
    insecure: new InsecureHosts(config.registryInsecure),
    mirrors: config.registryMirrors.map(parseMirror),
    certificateFolders: config.registryCerts,
    proxyEnv: Object.fromEntries(proxyVariables.map((name) => [name, env[name]])),
    stallMs: config.registryStallMs,
    retryMs: config.registryRetryMs,
    retries: config.registryRetries,
    maxBytes: config.pullMaxBytes,
  };
}

const proxyVariables = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];

function parseMirror(text: string): Mirror {
  const match = /^(?:([^=]+)=)?(https?:\/\/.+)$/.exec(text);
  const url = match !== null && URL.canParse(match[2]!) ? new URL(match[2]!) : undefined;
  const { pathname = '', search = '', hash = '', username = '', password = '' } = url ?? {};
  if (url === undefined || pathname !== '/' || search + hash + username + password !== '') {
    throw invalidField(
      'setting registryMirrors',
      'a list of `https://mirror.example`, for docker.io, or `registry=https://mirror.example`',
      text,
    );
  }
  return { domain: match?.[1] ?? 'docker.io', origin: url.origin };
}
