import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger } from './create-logger.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts a file system: FLOTILLA_ROOT_TESTS=1 runs it';

test('lines that a full disk refused are written when there is room, each once and in order', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-log-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', folder]);
  const fd = openSync(join(folder, 'log'), 'a');
  try {
    const log = createLogger({ service: 'test', level: 'info', fd });
    log.info({ i: 0 }, 'there is room');
    const filler = join(folder, 'filler');
    assert.throws(() => writeFileSync(filler, Buffer.alloc(1 << 20)), { code: 'ENOSPC' });
    for (let i = 1; i < 200; i += 1) log.info({ i }, 'the disk is full');
    rmSync(filler);
    log.info({ i: 200 }, 'there is room again');
    const lines = readFileSync(join(folder, 'log'), 'utf8').trimEnd().split('\n');
    const numbers = lines.map((line) => (JSON.parse(line) as { i: number }).i);
    assert.deepEqual(
      numbers,
      Array.from({ length: 201 }, (_, i) => i),
    );
  } finally {
    closeSync(fd);
    execFileSync('umount', [folder]);
    rmSync(folder, { recursive: true });
  }
});
