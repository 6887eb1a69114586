import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutputPlace } from './output-place.ts';

const out = (text: string) => ({ stream: 'OUTPUT_STREAM_STDOUT' as const, data: Buffer.from(text) });
const err = (text: string) => ({ stream: 'OUTPUT_STREAM_STDERR' as const, data: Buffer.from(text) });

test('what has come is passed over, stream by stream, also when it ended within a line', () => {
  const place = new OutputPlace({ fromStart: true });
  for (const chunk of [out('one\ntw'), err('bad\n'), out('o')]) place.pass(chunk);
  const unseen = place.unseen();
  const log = [out('one\n'), err('bad\n'), err('worse\n'), out('two\n'), out('three\n')];
  assert.deepEqual(
    log.map((entry) => unseen(entry).toString()),
    ['', '', 'worse\n', '\n', 'three\n'],
  );
});

test('a client goes on behind the last byte it got, counted from where it was connected', () => {
  const place = new OutputPlace({ fromStart: false });
  assert.equal(place.resume(), undefined);
  place.attach({ containerId: 'one', tty: false, run: 3n, attachmentId: 'id' });
  place.connect({ run: 3n, stdoutPosition: 100n, stderrPosition: 20n });
  for (const chunk of [out('four'), err('x')]) place.pass(chunk);
  assert.deepEqual(place.resume(), { run: 3n, stdoutPosition: 104n, stderrPosition: 21n, attachmentId: 'id' });
  assert.equal(
    place
      .unseen()(out('y'.repeat(106)))
      .toString(),
    'yy',
  );
});

test('who wants everything goes on at the start of a run that he was never connected to', () => {
  const place = new OutputPlace({ fromStart: true });
  assert.equal(place.isKnown, false);
  assert.deepEqual(place.resume(2n), { run: 2n, stdoutPosition: 0n, stderrPosition: 0n, attachmentId: '' });
});
