import type { StatementSync } from 'node:sqlite';
import { FlotillaError } from '@flotilla/errors';
import type { Database } from '@flotilla/store';
import type { ContainerEvent, ContainerRecord } from '../domain/container.ts';
import type { ExecRecord } from '../domain/exec.ts';
import type { Change, Log, Repository } from '../domain/ports.ts';
import { type ContainerRow, decodeContainer, encodeFixed, encodeStatus } from './container-codec.ts';
import { ExecStore } from './exec-store.ts';

export interface ContainerStoreOptions {
  /** Opened with `durable: false`: who needs a flush asks for one. */
  readonly database: Database;
  readonly flush: () => Promise<void>;
  /** Writes an event's row to the outbox, in the transaction under way. */
  readonly announce: (event: ContainerEvent) => void;
  readonly log: Log;
}

type Listener = (record: ContainerRecord | undefined) => void;
type ListenerToAll = (containerId: string, record: ContainerRecord | undefined) => void;

/** Containers and execs: written to SQLite, read from memory. */
export class ContainerStore implements Repository {
  readonly #database: Database;
  readonly #announce: (event: ContainerEvent) => void;
  readonly #log: Log;
  readonly #flush: () => Promise<void>;
  readonly #upsert: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  readonly #execs: ExecStore;
  readonly #byId = new Map<string, ContainerRecord>();
  readonly #byName = new Map<string, string>();
  readonly #byKey = new Map<string, string>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #listenersToAll = new Set<ListenerToAll>();

  /** Reads everything. Rows that make no sense are put aside. */
  constructor({ database, announce, flush, log }: ContainerStoreOptions) {
    this.#database = database;
    this.#announce = announce;
    this.#flush = flush;
    this.#log = log;
    this.#upsert = database.prepare(
      `INSERT INTO containers (container_id, name, container, image_config, facts, status) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (container_id) DO UPDATE SET name = excluded.name, container = excluded.container,
         image_config = excluded.image_config, facts = excluded.facts, status = excluded.status`,
    );
    this.#update = database.prepare('UPDATE containers SET status = ? WHERE container_id = ?');
    this.#delete = database.prepare('DELETE FROM containers WHERE container_id = ?');
    this.#load(log);
    this.#execs = new ExecStore(database, (containerId) => this.#byId.has(containerId));
  }

  #load(log: Log): void {
    const rows = this.#database.prepare('SELECT * FROM containers ORDER BY rowid').all() as unknown as ContainerRow[];
    for (const row of rows) {
      try {
        this.#remember(decodeContainer(row));
      } catch (err) {
        log.error({ containerId: row.container_id, err }, 'a container that cannot be read was put aside');
        this.#quarantine(row.container_id, String(err));
      }
    }
  }

  #quarantine(containerId: string, reason: string): void {
    this.#database.transact(() => {
      this.#database
        .prepare(
          `INSERT INTO quarantine SELECT container_id, name, container, image_config, facts, status, ?
           FROM containers WHERE container_id = ?`,
        )
        .run(reason, containerId);
      this.#delete.run(containerId);
    });
  }

  get(containerId: string): ContainerRecord | undefined {
    return this.#byId.get(containerId);
  }

  find(reference: string): ContainerRecord {
    const exact = this.#byId.get(reference) ?? this.findByName(reference.replace(/^\//, ''));
    if (exact !== undefined) return exact;
    const matching = /^[0-9a-f]{1,63}$/.test(reference)
      ? [...this.#byId.keys()].filter((containerId) => containerId.startsWith(reference))
      : [];
    if (matching.length === 1) return this.#byId.get(matching[0]!)!;
    if (matching.length === 0) {
      throw new FlotillaError('not_found', `no such container: ${reference}`, {
        reason: 'CONTAINER_NOT_FOUND',
        metadata: { container: reference.slice(0, 256) },
      });
    }
    throw new FlotillaError('invalid_argument', `${reference} is the beginning of ${matching.length} container ids`, {
      reason: 'CONTAINER_AMBIGUOUS',
      metadata: { container: reference, matches: String(matching.length) },
    });
  }

  findByName(name: string): ContainerRecord | undefined {
    const containerId = this.#byName.get(name);
    return containerId === undefined ? undefined : this.#byId.get(containerId);
  }

  findByIdempotencyKey(key: string): ContainerRecord | undefined {
    const containerId = this.#byKey.get(key);
    return containerId === undefined ? undefined : this.#byId.get(containerId);
  }

  all(): Iterable<ContainerRecord> {
    return this.#byId.values();
  }

  save({ container, execs = [], forgottenExecs = [], events = [] }: Change): void {
    this.#database.transact(() => {
      if (container !== undefined) this.#write(container);
      for (const exec of execs) this.#execs.write(exec);
      for (const execId of forgottenExecs) this.#execs.delete(execId);
      for (const event of events) this.#announce(event);
    });
    for (const exec of execs) this.#execs.remember(exec);
    for (const execId of forgottenExecs) this.#execs.forget(execId);
    if (container !== undefined) {
      this.#logChange(container);
      this.#remember(container);
      this.#notify(container.containerId, container);
    }
  }

  flush(): Promise<void> {
    return this.#flush();
  }

  remove(containerId: string, events: readonly ContainerEvent[]): void {
    this.#database.transact(() => {
      this.#delete.run(containerId);
      this.#execs.deleteOf(containerId);
      for (const event of events) this.#announce(event);
    });
    this.#execs.forgetOf(containerId);
    const record = this.#byId.get(containerId);
    if (record === undefined) return;
    this.#byId.delete(containerId);
    if (this.#byName.get(record.name) === containerId) this.#byName.delete(record.name);
    if (record.idempotencyKey !== '') this.#byKey.delete(record.idempotencyKey);
    this.#log.info({ containerId, name: record.name }, 'container removed');
    this.#notify(containerId, undefined);
  }

  getExec(execId: string): ExecRecord | undefined {
    return this.#execs.get(execId);
  }

  execsOf(containerId: string): readonly ExecRecord[] {
    return this.#execs.of(containerId);
  }

  removeExecs(containerId: string): void {
    if (this.#execs.of(containerId).length === 0) return;
    this.#execs.deleteOf(containerId);
    this.#execs.forgetOf(containerId);
  }

  watch(containerId: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(containerId) ?? new Set();
    this.#listeners.set(containerId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(containerId) === listeners) this.#listeners.delete(containerId);
    };
  }

  watchAll(listener: ListenerToAll): () => void {
    this.#listenersToAll.add(listener);
    return () => void this.#listenersToAll.delete(listener);
  }

  #logChange(record: ContainerRecord): void {
    const { containerId, name, state, run, task, exitCode } = record;
    if (this.#byId.get(containerId)?.state === state) return;
    const live = task === undefined ? {} : { initPid: task.initPid, shimPid: task.shimPid };
    const end = state === 'exited' ? { exitCode, oomKilled: record.oomKilled } : {};
    this.#log.info({ containerId, name, state, run, ...live, ...end }, 'container changed its state');
  }

  #write(record: ContainerRecord): void {
    const { containerId } = record;
    const known = this.#byId.get(containerId);
    const status = encodeStatus(record);
    if (
      known !== undefined &&
      known.made === record.made &&
      known.name === record.name &&
      known.config === record.config
    ) {
      this.#update.run(status, containerId);
      return;
    }
    const { name, container, image_config, facts } = encodeFixed(record);
    this.#upsert.run(containerId, name, container, image_config, facts, status);
  }

  #remember(record: ContainerRecord): void {
    const { containerId, name, idempotencyKey } = record;
    const before = this.#byId.get(containerId);
    if (before !== undefined && before.name !== name) this.#byName.delete(before.name);
    this.#byId.set(containerId, record);
    this.#byName.set(name, containerId);
    if (idempotencyKey !== '') this.#byKey.set(idempotencyKey, containerId);
  }

  #notify(containerId: string, record: ContainerRecord | undefined): void {
    for (const listener of [...(this.#listeners.get(containerId) ?? [])]) listener(record);
    for (const listener of this.#listenersToAll) listener(containerId, record);
  }
}
