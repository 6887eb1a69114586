import { Nftables, NftablesError } from '@flotilla/linux/nftables';
import type { Logger } from '@flotilla/log';
import type { PortRule } from '../domain/records.ts';
import { addPorts, deletePorts, replaceTable } from '../domain/ruleset.ts';

/** The bridge that the rules are about. */
export interface FirewalledBridge {
  readonly link: string;
  /** `172.30.0.0/16`. */
  readonly subnet: string;
}

/**
 * The instance's table of rules. Packets never wait for this service: the table is replaced in one transaction, and
 * connections that are translated stay so, because the kernel remembers that by connection.
 */
export class Firewall implements Disposable {
  readonly #table: string;
  readonly #log: Logger;
  readonly #nftables: Nftables;

  constructor(table: string, log: Logger) {
    this.#table = table;
    this.#log = log;
    this.#nftables = new Nftables();
  }

  /** Puts all rules in place. */
  replace({ link, subnet }: FirewalledBridge, ports: readonly PortRule[]): void {
    this.#nftables.run(replaceTable({ table: this.#table, bridge: link, subnet, ports }));
  }

  /** Adds the ports of one sandbox. `all` is for a table that is not as it was left. */
  publish(bridge: FirewalledBridge, ports: readonly PortRule[], all: () => readonly PortRule[]): void {
    this.#change(addPorts(this.#table, ports), bridge, all);
  }

  /** Removes the ports of one sandbox. */
  unpublish(bridge: FirewalledBridge, ports: readonly PortRule[], all: () => readonly PortRule[]): void {
    this.#change(deletePorts(this.#table, ports), bridge, all);
  }

  /** Whether the table is there. */
  isThere(): boolean {
    const found = this.#nftables.list('list tables ip');
    return found.some((one) => (one as { table?: { name?: string } }).table?.name === this.#table);
  }

  /** Takes the table away. */
  remove(): void {
    this.#nftables.run(`add table ip ${this.#table}\ndelete table ip ${this.#table}`);
  }

  #change(commands: string, bridge: FirewalledBridge, all: () => readonly PortRule[]): void {
    if (commands === '') return;
    try {
      this.#nftables.run(commands);
    } catch (err) {
      if (!(err instanceof NftablesError)) throw err;
      this.#log.warn({ err }, 'rules were changed by somebody else, putting all in place anew');
      this.replace(bridge, all());
    }
  }

  [Symbol.dispose](): void {
    this.#nftables[Symbol.dispose]();
  }
}
