import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Attachments } from './attachments.ts';

test('a start waits for as many clients as were expected', async () => {
  const attachments = new Attachments();
  let started = false;
  const waiting = attachments.wait(2, 5_000).then(() => {
    started = true;
  });
  attachments.enter(true);
  attachments.enter(false);
  await Promise.resolve();
  assert.equal(started, false);
  attachments.enter(true);
  await waiting;
});

test('a client that came and went before counts; without any expected there is no wait', async () => {
  const attachments = new Attachments();
  await attachments.wait(0, 60_000);
  attachments.enter(true);
  attachments.leave();
  await attachments.wait(1, 60_000);
});

test('the wait is over after its time', async () => {
  const before = performance.now();
  await new Attachments().wait(1, 30);
  assert.ok(performance.now() - before >= 25);
});

test('the end waits until all calls are over', async () => {
  const attachments = new Attachments();
  await attachments.waitForNone(60_000);
  attachments.enter(false);
  attachments.enter(true);
  const over = attachments.waitForNone(60_000);
  attachments.leave();
  attachments.leave();
  await over;
});
