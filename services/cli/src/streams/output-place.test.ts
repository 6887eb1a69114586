import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeenOutput } from './rest-from-logs.ts';

const out = (text: string) => ({ stream: 'OUTPUT_STREAM_STDOUT' as const, data: Buffer.from(text) });
const err = (text: string) => ({ stream: 'OUTPUT_STREAM_STDERR' as const, data: Buffer.from(text) });

test('what has come is passed over, stream by stream, also when it ended within a line', () => {
  const seen = new SeenOutput();
  for (const chunk of [out('one\ntw'), err('bad\n'), out('o')]) seen.add(chunk);
  const log = [out('one\n'), err('bad\n'), err('worse\n'), out('two\n'), out('three\n')];
  assert.deepEqual(
    log.map((entry) => seen.unseenPart(entry).toString()),
    ['', '', 'worse\n', '\n', 'three\n'],
  );
});
