import type { StatementSync } from 'node:sqlite';
import type { Database } from '@flotilla/store';
import type { NetworkRecord } from '../domain/records.ts';

interface NetworkRow {
  readonly networkId: string;
  readonly name: string;
  readonly driver: NetworkRecord['driver'];
  readonly createdAtUnixNano: string;
  readonly subnet: string | null;
}

/** Networks, and where the giving of addresses has got to. */
export class NetworkStore {
  readonly #insert: StatementSync;
  readonly #list: StatementSync;
  readonly #setSubnet: StatementSync;
  readonly #lastAddress: StatementSync;
  readonly #setLastAddress: StatementSync;

  constructor(database: Database) {
    this.#insert = database.prepare(
      'INSERT INTO networks (network_id, name, driver, created_at_unix_nano, subnet) VALUES (?, ?, ?, ?, ?)',
    );
    this.#list = database.prepare(
      'SELECT network_id AS networkId, name, driver, created_at_unix_nano AS createdAtUnixNano, subnet FROM networks ORDER BY name',
    );
    this.#setSubnet = database.prepare('UPDATE networks SET subnet = ?, last_address = NULL WHERE network_id = ?');
    this.#lastAddress = database.prepare('SELECT last_address AS lastAddress FROM networks WHERE network_id = ?');
    this.#setLastAddress = database.prepare('UPDATE networks SET last_address = ? WHERE network_id = ?');
  }

  add({ networkId, name, driver, createdAtUnixNano, subnet }: NetworkRecord): void {
    this.#insert.run(networkId, name, driver, String(createdAtUnixNano), subnet ?? null);
  }

  /** By name. */
  list(): NetworkRecord[] {
    const rows = this.#list.all() as unknown as NetworkRow[];
    return rows.map((row) => ({
      ...row,
      createdAtUnixNano: BigInt(row.createdAtUnixNano),
      subnet: row.subnet ?? undefined,
    }));
  }

  setSubnet(networkId: string, subnet: string): void {
    this.#setSubnet.run(subnet, networkId);
  }

  /** The address given last, as a number. */
  findLastAddress(networkId: string): number | undefined {
    const row = this.#lastAddress.get(networkId) as { lastAddress: number | null } | undefined;
    return row?.lastAddress ?? undefined;
  }

  setLastAddress(networkId: string, address: number): void {
    this.#setLastAddress.run(address, networkId);
  }
}
