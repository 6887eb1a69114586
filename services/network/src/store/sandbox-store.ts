import type { StatementSync } from 'node:sqlite';
import type { Database } from '@flotilla/store';
import type { PublishedPort, ReleasedPlace, SandboxRecord } from '../domain/records.ts';

interface SandboxRow {
  readonly sandboxId: string;
  readonly mode: SandboxRecord['mode'];
  readonly state: SandboxRecord['state'];
  readonly ports: string;
  readonly endpointId: string;
  readonly networkId: string;
  readonly hostLink: string | null;
  readonly address: string | null;
  readonly mac: string | null;
}

const columns = `SELECT sandbox_id AS sandboxId, mode, state, ports, endpoint_id AS endpointId, network_id AS networkId,
  host_link AS hostLink, address, mac FROM sandboxes JOIN endpoints USING (sandbox_id)`;

/** Sandboxes with their endpoints, and places whose links are on their way out. */
export class SandboxStore {
  readonly #database: Database;
  readonly #find: StatementSync;
  readonly #list: StatementSync;
  readonly #insertSandbox: StatementSync;
  readonly #insertEndpoint: StatementSync;
  readonly #setState: StatementSync;
  readonly #delete: StatementSync;
  readonly #release: StatementSync;
  readonly #released: StatementSync;
  readonly #forgetReleased: StatementSync;
  readonly #isTaken: StatementSync;

  constructor(database: Database) {
    this.#database = database;
    this.#find = database.prepare(`${columns} WHERE sandbox_id = ?`);
    this.#list = database.prepare(`${columns} ORDER BY sandbox_id`);
    this.#insertSandbox = database.prepare(
      'INSERT INTO sandboxes (sandbox_id, mode, state, ports) VALUES (?, ?, ?, ?)',
    );
    this.#insertEndpoint = database.prepare(
      'INSERT INTO endpoints (endpoint_id, sandbox_id, network_id, host_link, address, mac) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#setState = database.prepare('UPDATE sandboxes SET state = ? WHERE sandbox_id = ?');
    this.#delete = database.prepare('DELETE FROM sandboxes WHERE sandbox_id = ?');
    this.#release = database.prepare('INSERT INTO released (host_link, address) VALUES (?, ?)');
    this.#released = database.prepare('SELECT host_link AS hostLink, address FROM released');
    this.#forgetReleased = database.prepare('DELETE FROM released WHERE host_link = ?');
    this.#isTaken = database.prepare(
      'SELECT 1 FROM endpoints WHERE network_id = ?1 AND address = ?2 UNION ALL SELECT 1 FROM released WHERE address = ?2',
    );
  }

  find(sandboxId: string): SandboxRecord | undefined {
    const row = this.#find.get(sandboxId) as SandboxRow | undefined;
    return row === undefined ? undefined : decode(row);
  }

  /** By id. */
  list(): SandboxRecord[] {
    return (this.#list.all() as unknown as SandboxRow[]).map(decode);
  }

  add({ sandboxId, mode, state, ports, endpoint: { endpointId, networkId, place } }: SandboxRecord): void {
    this.#database.transact(() => {
      this.#insertSandbox.run(sandboxId, mode, state, JSON.stringify(ports));
      const { hostLink = null, address = null, mac = null } = place ?? {};
      this.#insertEndpoint.run(endpointId, sandboxId, networkId, hostLink, address, mac);
    });
  }

  markAttached(sandboxId: string): void {
    this.#setState.run('attached', sandboxId);
  }

  /** Forgets a sandbox; its place stays taken until its link is seen to be gone. */
  release({ sandboxId, endpoint: { place } }: SandboxRecord): void {
    this.#database.transact(() => {
      this.#delete.run(sandboxId);
      if (place !== undefined) this.#release.run(place.hostLink, place.address);
    });
  }

  listReleased(): ReleasedPlace[] {
    return this.#released.all() as unknown as ReleasedPlace[];
  }

  /** The link is gone: the address is free. */
  forgetReleased(hostLink: string): void {
    this.#forgetReleased.run(hostLink);
  }

  isTaken(networkId: string, address: string): boolean {
    return this.#isTaken.get(networkId, address) !== undefined;
  }
}

function decode({ sandboxId, mode, state, ports, endpointId, networkId, ...row }: SandboxRow): SandboxRecord {
  const { hostLink, address, mac } = row;
  const place = hostLink === null || address === null || mac === null ? undefined : { hostLink, address, mac };
  return {
    sandboxId,
    mode,
    state,
    endpoint: { endpointId, networkId, place },
    ports: JSON.parse(ports) as readonly PublishedPort[],
  };
}
