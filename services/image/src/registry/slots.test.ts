import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from './slots.ts';

test('only so many at once, the others in turn; who gives up waiting takes no slot', async () => {
  const slots = new Slots(2);
  const { signal } = new AbortController();
  const order: string[] = [];
  const take = async (name: string, abort = signal) => {
    const slot = await slots.take(abort);
    order.push(name);
    return slot;
  };
  const [first, second] = [await take('first'), await take('second')];
  const controller = new AbortController();
  const third = take('third', controller.signal);
  const fourth = take('fourth');
  controller.abort(new Error('no more'));
  await assert.rejects(third, /no more/);
  assert.deepEqual(order, ['first', 'second']);
  first[Symbol.dispose]();
  const slot = await fourth;
  assert.deepEqual(order, ['first', 'second', 'fourth']);
  second[Symbol.dispose]();
  slot[Symbol.dispose]();
  const both = [await take('fifth'), await take('sixth')];
  assert.equal(both.length, 2);
});
