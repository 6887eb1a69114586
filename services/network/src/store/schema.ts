/** Scripts in order; only ever added to. */
export const networkMigrations: readonly string[] = [
  `
  CREATE TABLE networks (
    network_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    driver TEXT NOT NULL,
    created_at_unix_nano TEXT NOT NULL,
    subnet TEXT,
    last_address INTEGER
  ) STRICT;
  CREATE TABLE sandboxes (
    sandbox_id TEXT PRIMARY KEY,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    ports TEXT NOT NULL
  ) STRICT;
  CREATE TABLE endpoints (
    endpoint_id TEXT PRIMARY KEY,
    sandbox_id TEXT NOT NULL REFERENCES sandboxes (sandbox_id) ON DELETE CASCADE,
    network_id TEXT NOT NULL REFERENCES networks (network_id),
    host_link TEXT UNIQUE,
    address TEXT,
    mac TEXT,
    UNIQUE (network_id, address)
  ) STRICT;
  CREATE INDEX endpoints_by_sandbox ON endpoints (sandbox_id);
  CREATE TABLE released (
    host_link TEXT PRIMARY KEY,
    address TEXT NOT NULL
  ) STRICT;
  CREATE INDEX released_by_address ON released (address);
`,
];
