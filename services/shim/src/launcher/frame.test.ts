import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Any } from '@flotilla/proto/google/protobuf/any';
import { encodeFrame, findFrame } from './frame.ts';

for (const length of [0, 1, 127, 128, 16_383, 16_384, 70_000]) {
  test(`a message of ${length} bytes passes, and not before its last byte`, () => {
    const message = Buffer.alloc(length, 7);
    const frame = encodeFrame(message);
    // A bytes field is its tag, its length and its bytes.
    if (length > 0)
      assert.deepEqual(frame, Buffer.from(Any.encode(Any.create({ value: message })).finish()).subarray(1));
    assert.deepEqual(findFrame(Buffer.concat([frame, Buffer.from('more')]), 100_000), message);
    assert.equal(findFrame(frame.subarray(0, -1), 100_000), undefined);
  });
}

for (const [name, bytes] of [
  ['longer than allowed', encodeFrame(Buffer.alloc(101))],
  ['with an endless length', Buffer.alloc(10, 0xff)],
] as const) {
  test(`a message ${name} is refused`, () => assert.throws(() => findFrame(bytes, 100), RangeError));
}
