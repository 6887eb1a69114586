import { outboxMigration } from '@flotilla/store';

/** The supervisor's tables. Scripts are only ever added to. */
export const migrations: readonly string[] = [
  `
  CREATE TABLE containers (
    container_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- flotilla.v1.Container: what does not change once it is created.
    container BLOB NOT NULL,
    -- flotilla.v1.ImageConfig; NULL until it is created.
    image_config BLOB,
    -- JSON: what the contract has no place for.
    facts TEXT NOT NULL,
    -- JSON: what changes.
    status TEXT NOT NULL
  ) STRICT;
  CREATE TABLE execs (
    exec_id TEXT PRIMARY KEY,
    container_id TEXT NOT NULL,
    -- flotilla.v1.ExecConfig.
    config BLOB NOT NULL,
    -- JSON.
    status TEXT NOT NULL
  ) STRICT;
  CREATE INDEX execs_by_container ON execs (container_id);
  -- Rows that this release cannot read: put aside instead of failing the start.
  CREATE TABLE quarantine (
    container_id TEXT NOT NULL,
    name TEXT NOT NULL,
    container BLOB NOT NULL,
    image_config BLOB,
    facts TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  `,
  outboxMigration,
];
