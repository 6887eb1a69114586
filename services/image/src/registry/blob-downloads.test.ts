import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256Digest } from '@flotilla/oci';
import { ContentStore } from '../adapters/content-store.ts';
import { BlobDownloads } from './blob-downloads.ts';
import { unavailable } from './registry-error.ts';

// A real content store; what comes from registries comes from generators here.
const folder = mkdtempSync(join(tmpdir(), 'fl-downloads-'));
after(() => rmSync(folder, { recursive: true }));
let content: ContentStore;
let downloads: BlobDownloads;
beforeEach(() => {
  rmSync(join(folder, 'content'), { recursive: true, force: true });
  content = new ContentStore(folder);
  downloads = new BlobDownloads(content);
});

const blob = (text: string) => ({ digest: sha256Digest(text), size: text.length });
const { signal: never } = new AbortController();

/** One pull's wish for a blob; its source waits for `gate`, sends a text and perhaps fails. */
function want(
  text: string,
  gate: Promise<unknown>,
  { failure, signal = never }: { failure?: Error; signal?: AbortSignal } = {},
) {
  const seen: string[] = [];
  let opened = 0;
  async function* open(abort: AbortSignal) {
    opened++;
    await Promise.race([gate, new Promise((_, reject) => abort.addEventListener('abort', () => reject(abort.reason)))]);
    yield Buffer.from(text.slice(0, 2));
    if (failure !== undefined) throw failure;
    yield Buffer.from(text.slice(2));
  }
  const done = downloads.fetch({ descriptor: blob(text), open, onProgress: (status) => seen.push(status), signal });
  done.catch(() => {});
  return { done, seen, opened: () => opened };
}

test('what two want comes once, and both hear of it', async () => {
  const gate = Promise.withResolvers<void>();
  const [one, two] = [want('some bytes', gate.promise), want('some bytes', gate.promise)];
  await sleep(10);
  gate.resolve();
  await Promise.all([one.done, two.done]);
  assert.deepEqual([one.opened(), two.opened()], [1, 0]);
  assert.equal(content.read(blob('some bytes').digest).toString(), 'some bytes');
  for (const { seen } of [one, two]) assert.deepEqual([...new Set(seen)], ['waiting', 'downloading', 'verifying']);
  assert.deepEqual(readdirSync(join(folder, 'content/ingest')), []);
});

test('when the registry of the one that began fails, the other one asks its own', async () => {
  const gate = Promise.withResolvers<void>();
  const one = want('some bytes', gate.promise, { failure: unavailable('a.test', 'fails') });
  const two = want('some bytes', gate.promise);
  gate.resolve();
  await assert.rejects(one.done, { reason: 'REGISTRY_UNAVAILABLE' });
  await two.done;
  assert.deepEqual([one.opened(), two.opened()], [1, 1]);
});

test('three at once, the others in turn', async () => {
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const wishes = gates.map(({ promise }, i) => want(`blob ${i}`, promise));
  while (wishes[2]!.opened() === 0) await sleep(5);
  assert.deepEqual(
    wishes.map(({ opened }) => opened()),
    [1, 1, 1, 0, 0],
  );
  gates[1]!.resolve();
  await wishes[1]!.done;
  while (wishes[3]!.opened() === 0) await sleep(5);
  assert.deepEqual(
    wishes.map(({ opened }) => opened()),
    [1, 1, 1, 1, 0],
  );
  for (const gate of gates) gate.resolve();
  await Promise.all(wishes.map(({ done }) => done));
});

test('the last one who leaves ends it; one who waits for its turn leaves at once', async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  const nothing = Promise.withResolvers<void>();
  const one = want('some bytes', nothing.promise, { signal: first.signal });
  const two = want('some bytes', nothing.promise, { signal: second.signal });
  const others = [1, 2, 3].map((i) => want(`blob ${i}`, nothing.promise, { signal: second.signal }));
  while (one.opened() === 0) await sleep(5);
  first.abort(new Error('enough'));
  await assert.rejects(one.done, /enough/);
  assert.notDeepEqual(readdirSync(join(folder, 'content/ingest')), []);
  second.abort(new Error('enough for me'));
  for (const { done } of [two, ...others]) await assert.rejects(done, /enough for me/);
  assert.deepEqual(readdirSync(join(folder, 'content/ingest')), []);
  assert.equal(others[2]?.opened(), 0);
});

test('a descriptor that says another size is wrong, whether the blob is there or comes', async () => {
  await want('some bytes', Promise.resolve()).done;
  const descriptor = { ...blob('some bytes'), size: 11 };
  const request = { descriptor, onProgress: () => {}, signal: never };
  async function* open() {
    yield Buffer.from('some bytes');
  }
  await assert.rejects(downloads.fetch({ ...request, open }), { reason: 'BLOB_SIZE_MISMATCH' });
  assert.ok(content.has(descriptor.digest));
  content.discard(descriptor.digest);
  await assert.rejects(downloads.fetch({ ...request, open }), { reason: 'BLOB_SIZE_MISMATCH' });
  const { digest } = blob('another text');
  await assert.rejects(downloads.fetch({ ...request, open, descriptor: { digest, size: 10 } }), {
    reason: 'DIGEST_MISMATCH',
    code: 'data_loss',
  });
  assert.deepEqual(readdirSync(join(folder, 'content/ingest')), []);
  assert.ok(!content.has(digest) && !content.has(descriptor.digest));
});
