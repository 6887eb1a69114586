import type { InsecureHosts } from './insecure-hosts.ts';

/** Another place to ask for what a registry has. */
export interface Mirror {
  /** Domain of references, `docker.io`. */
  readonly domain: string;
  /** `https://mirror.example:5000`. */
  readonly origin: string;
}

/** How registries are talked to. */
export interface RegistrySettings {
  readonly insecure: InsecureHosts;
  /** Asked in this order, before the registry itself. */
  readonly mirrors: readonly Mirror[];
  /** Folders with a folder for each host: `*.crt`, and `*.cert` with its `*.key`. */
  readonly certificateFolders: readonly string[];
  /** Variables that name proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY and their like in lower case. */
  readonly proxyEnv: Readonly<Record<string, string | undefined>>;
  /** A connection that says nothing for so long is given up. */
  readonly stallMs: number;
  /** Pause after a first failure; doubled with each further one. */
  readonly retryMs: number;
  /** Failures in a row before it is given up. */
  readonly retries: number;
  /** Sum of a pull's layers. */
  readonly maxBytes: number;
}
