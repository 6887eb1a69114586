import type { StatementSync } from 'node:sqlite';
import { ExecConfig } from '@flotilla/proto/flotilla/v1/exec';
import type { Database } from '@flotilla/store';
import type { ExecRecord } from '../domain/exec.ts';

interface ExecRow {
  readonly exec_id: string;
  readonly container_id: string;
  readonly config: Uint8Array;
  readonly status: string;
}

/** `probe` is absent in what earlier releases wrote. */
type Status = Pick<ExecRecord, 'run' | 'state' | 'pid' | 'exitCode'> & { readonly probe?: boolean };

/** The execs of containers. */
export class ExecStore {
  readonly #upsert: StatementSync;
  readonly #deleteOf: StatementSync;
  readonly #delete: StatementSync;
  readonly #byId = new Map<string, ExecRecord>();
  readonly #idsOf = new Map<string, Set<string>>();

  /** Reads the execs of containers that are there. */
  constructor(database: Database, isThere: (containerId: string) => boolean) {
    this.#upsert = database.prepare(
      `INSERT INTO execs (exec_id, container_id, config, status) VALUES (?, ?, ?, ?)
       ON CONFLICT (exec_id) DO UPDATE SET status = excluded.status`,
    );
    this.#deleteOf = database.prepare('DELETE FROM execs WHERE container_id = ?');
    this.#delete = database.prepare('DELETE FROM execs WHERE exec_id = ?');
    const rows = database.prepare('SELECT * FROM execs ORDER BY rowid').all() as unknown as ExecRow[];
    for (const row of rows) if (isThere(row.container_id)) this.remember(decode(row));
  }

  get(execId: string): ExecRecord | undefined {
    return this.#byId.get(execId);
  }

  of(containerId: string): readonly ExecRecord[] {
    return [...(this.#idsOf.get(containerId) ?? [])].map((execId) => this.#byId.get(execId)!);
  }

  /** In the transaction under way. */
  write({ execId, containerId, config, run, state, pid, exitCode, probe }: ExecRecord): void {
    const status: Status = { run, state, pid, exitCode, probe };
    this.#upsert.run(execId, containerId, ExecConfig.encode(config).finish(), JSON.stringify(status));
  }

  /** After the commit. */
  remember(exec: ExecRecord): void {
    const ids = this.#idsOf.get(exec.containerId) ?? new Set();
    this.#idsOf.set(exec.containerId, ids.add(exec.execId));
    this.#byId.set(exec.execId, exec);
  }

  /** In the transaction under way. */
  delete(execId: string): void {
    this.#delete.run(execId);
  }

  /** After the commit. */
  forget(execId: string): void {
    const containerId = this.#byId.get(execId)?.containerId;
    this.#byId.delete(execId);
    if (containerId !== undefined) this.#idsOf.get(containerId)?.delete(execId);
  }

  /** In the transaction under way. */
  deleteOf(containerId: string): void {
    if (this.#idsOf.has(containerId)) this.#deleteOf.run(containerId);
  }

  /** After the commit. */
  forgetOf(containerId: string): void {
    for (const execId of this.#idsOf.get(containerId) ?? []) this.#byId.delete(execId);
    this.#idsOf.delete(containerId);
  }
}

function decode(row: ExecRow): ExecRecord {
  const { run, state, pid, exitCode, probe = false } = JSON.parse(row.status) as Status;
  const config = ExecConfig.decode(row.config);
  return { execId: row.exec_id, containerId: row.container_id, config, run, state, pid, exitCode, probe };
}
