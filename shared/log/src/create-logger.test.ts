import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from './create-logger.ts';

test('lines that a full device refuses are not the end of the process', async () => {
  const fd = openSync('/dev/full', 'w');
  const log = createLogger({ service: 'test', level: 'info', fd });
  for (let i = 0; i < 3; i += 1) assert.doesNotThrow(() => log.info({ i }, 'nobody will read this'));
  await sleep(10); // an error that nobody takes would be thrown by now
  closeSync(fd);
});
