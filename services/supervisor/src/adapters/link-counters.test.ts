import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLinkCounters } from './link-counters.ts';

const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0:12345678901      98    1    2    0     0          0         7     6543      21    3    4    0     0       0          0
`;

test('each link but the loopback, also where a number touches the colon', () => {
  const received = { receivedBytes: 12345678901, receivedPackets: 98, receivedErrors: 1, receivedDropped: 2 };
  const sent = { sentBytes: 6543, sentPackets: 21, sentErrors: 3, sentDropped: 4 };
  assert.deepEqual(parseLinkCounters(text), [{ name: 'eth0', ...received, ...sent }]);
});
