import { randomBytes } from 'node:crypto';
import { FlotillaError } from '@flotilla/errors';
import type { HostNetwork } from './host-network.ts';
import type { Announce, NetworkRecords, Transact } from './interfaces.ts';
import type { NetworkRecord, PortRule } from './records.ts';

const predefined = ['bridge', 'host', 'none'] as const;

export interface NetworksOptions {
  readonly records: NetworkRecords;
  readonly host: HostNetwork;
  readonly transact: Transact;
  readonly announce: Announce;
  readonly nowUnixNano: () => bigint;
  /** Of all sandboxes. */
  readonly rules: () => readonly PortRule[];
}

/** The networks. `bridge`, `host` and `none` are always there. */
export class Networks {
  readonly #options: NetworksOptions;
  #networks: readonly NetworkRecord[] = [];
  #ready = false;

  constructor(options: NetworksOptions) {
    this.#options = options;
    const { records, transact, nowUnixNano } = options;
    const names = new Set(records.list().map(({ name }) => name));
    transact(() => {
      for (const name of predefined) {
        if (names.has(name)) continue;
        const networkId = randomBytes(32).toString('hex');
        records.add({ networkId, name, driver: name, createdAtUnixNano: nowUnixNano(), subnet: undefined });
      }
    });
    this.#networks = records.list();
  }

  /** By name. */
  list(): readonly NetworkRecord[] {
    return this.#networks;
  }

  /** By id, unique id prefix or name. NOT_FOUND / NETWORK_NOT_FOUND; INVALID_ARGUMENT / AMBIGUOUS_NETWORK. */
  get(reference: string): NetworkRecord {
    const exact = this.#networks.find(({ name, networkId }) => name === reference || networkId === reference);
    if (exact !== undefined) return exact;
    const metadata = { network: reference };
    const [first, second] = /^[\da-f]+$/.test(reference)
      ? this.#networks.filter(({ networkId }) => networkId.startsWith(reference))
      : [];
    if (first === undefined) {
      throw new FlotillaError('not_found', `no such network: ${reference}`, { reason: 'NETWORK_NOT_FOUND', metadata });
    }
    if (second === undefined) return first;
    const text = `more than one network has an id that begins with ${reference}`;
    throw new FlotillaError('invalid_argument', text, { reason: 'AMBIGUOUS_NETWORK', metadata });
  }

  /** The network `bridge`, made on the host if that has not been done. */
  ensureBridge(): NetworkRecord & { readonly subnet: string } {
    const network = this.get('bridge');
    if (this.#ready && network.subnet !== undefined) return { ...network, subnet: network.subnet };
    const { host, records, transact, announce, rules } = this.#options;
    const subnet = host.ensureBridge(network.subnet, rules);
    if (subnet !== network.subnet) {
      transact(() => {
        records.setSubnet(network.networkId, subnet);
        if (network.subnet === undefined) announce('create', network);
      });
      this.#networks = records.list();
    }
    this.#ready = true;
    return { ...network, subnet };
  }

  /** The bridge is not what it was: the next use mends it. */
  doubtBridge(): void {
    this.#ready = false;
  }

  /** Whether the bridge has been made or mended by this process. */
  get isBridgeReady(): boolean {
    return this.#ready;
  }

  /** FAILED_PRECONDITION / NETWORK_PREDEFINED; there are no others yet. */
  remove(reference: string): never {
    const { name } = this.get(reference);
    throw new FlotillaError('failed_precondition', `${name} is a predefined network and cannot be removed`, {
      reason: 'NETWORK_PREDEFINED',
      metadata: { network: name },
    });
  }
}
