import { outboxMigration } from '@flotilla/store';

/** Only ever added to. */
export const migrations: readonly string[] = [
  `
  CREATE TABLE images (
    image_id TEXT PRIMARY KEY,
    manifest_digest TEXT NOT NULL,
    blobs TEXT NOT NULL,
    diff_ids TEXT NOT NULL,
    chain_ids TEXT NOT NULL,
    layer_sizes TEXT NOT NULL,
    config TEXT NOT NULL
  ) STRICT;
  -- Canonical references: docker.io/library/debian:12.
  CREATE TABLE image_references (
    reference TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE
  ) STRICT;
  -- Unpacked layers: the folder layers/<layer_number>.
  CREATE TABLE layers (
    layer_number INTEGER PRIMARY KEY AUTOINCREMENT,
    chain_id TEXT NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    anonymous INTEGER NOT NULL,
    created_at_unix_nano INTEGER NOT NULL,
    -- Whether it was filled from an image, or is past that.
    filled INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE volume_users (
    name TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (key, position)
  ) STRICT;
  ${outboxMigration}
  `,
  `
  -- Options of the driver, as JSON.
  ALTER TABLE volumes ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
  ALTER TABLE volumes DROP COLUMN filled;
  -- Asked for by name: it is not removed with the container, though it be an anonymous one.
  ALTER TABLE volume_users ADD COLUMN by_name INTEGER NOT NULL DEFAULT 0;
  -- Volumes of containers that run, or are about to. mounted: it has been, and that was announced.
  CREATE TABLE volume_mounts (
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    mounted INTEGER NOT NULL,
    PRIMARY KEY (key, position)
  ) STRICT;
  `,
];
