import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { after, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { createLogger } from '@flotilla/log';
import {
  type AttachRequest,
  AttachResponse,
  type AttachStart,
  ShimServiceService,
} from '@flotilla/proto/flotilla/shim/v1/shim';
import { implement, type RpcServer, serve } from '@flotilla/rpc';
import { ShimConnections } from '../adapters/shim-connections.ts';
import { attachToShim } from './attach-to-shim.ts';
import { readInput } from './read-input.ts';

const folder = mkdtempSync('/tmp/fl-attach-');
const shims = new ShimConnections();
after(() => {
  shims[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});
const log = createLogger({ service: 'test', level: 'silent' });

/** What the container has written, and what its shims were asked. */
const world = { text: '', ended: false, run: 1n, starts: [] as AttachStart[], left: 0 };
beforeEach(() => Object.assign(world, { text: '', ended: false, run: 1n, starts: [], left: 0 }));

const implementation = implement(ShimServiceService, {
  async *attach(requests: AsyncIterable<AttachRequest>, { signal }) {
    const input = requests[Symbol.asyncIterator]();
    const { value } = await input.next();
    const start = (value as AttachRequest).message?.value as AttachStart;
    world.starts.push(start);
    let leaving = false;
    void (async () => {
      for (let next = await input.next(); next.done !== true; next = await input.next()) {
        leaving ||= next.value.message?.$case === 'leave';
      }
    })().catch(() => {});
    let at = Number(start.stdoutPosition ?? BigInt(world.text.length));
    const started = { tty: false, run: world.run, stdoutPosition: BigInt(at), stderrPosition: 0n };
    yield AttachResponse.fromPartial({ message: { $case: 'started', value: started } });
    while (!leaving && !signal.aborted) {
      if (at < world.text.length) {
        const data = Buffer.from(world.text.slice(at, at + 3));
        const output = { stream: 'OUTPUT_STREAM_STDOUT' as const, data, position: BigInt(at) };
        at += data.length;
        yield AttachResponse.fromPartial({ message: { $case: 'output', value: output } });
      } else if (world.ended) break;
      else await sleep(2);
    }
    if (leaving) world.left++;
    else yield AttachResponse.fromPartial({ message: { $case: 'ended', value: { exitCode: 5 } } });
  },
});
const startShim = (): Promise<RpcServer> =>
  serve({ socketPath: `${folder}/shim.sock`, implementations: [implementation], service: 'shim', log, drainMs: 20 });

const start: AttachStart = { execId: '', stdin: true, stdout: true, stderr: false, expected: false };
const over = (reason: string) => new FlotillaError('failed_precondition', reason, { reason });

function openClient(abort = new AbortController()) {
  const silent = { next: () => new Promise<never>(() => {}) };
  const input = readInput(silent, { tty: false, wanted: true, detachKeys: '' });
  const findEnd = async () => undefined;
  const options = { shims, signal: abort.signal, run: 1n, findEnd, otherRun: () => over('RUN_OVER'), resumeMs: 5_000 };
  const seen = { text: '', places: [] as bigint[], exitCode: undefined as number | undefined };
  const done = (async () => {
    for await (const event of attachToShim(`unix://${folder}/shim.sock`, start, input, options)) {
      if (event.started !== undefined) seen.places.push(event.started.stdoutPosition);
      seen.text += event.output?.data.toString() ?? '';
      seen.exitCode = event.exitCode;
    }
  })();
  done.catch(() => {});
  return { seen, done, abort };
}

async function until(holds: () => boolean): Promise<void> {
  for (const endsAt = Date.now() + 10_000; !holds(); await sleep(5)) assert.ok(Date.now() < endsAt, 'in time');
}

test('output goes on behind the last byte on the next shim, also when none came on the one before', async () => {
  let shim = await startShim();
  world.text = 'earlier;';
  const { seen, done } = openClient();
  await until(() => seen.places.length === 1);
  for (const piece of ['first;', 'second;', 'third;']) {
    await shim[Symbol.asyncDispose]();
    world.text += piece;
    shim = await startShim();
    await until(() => seen.text.endsWith(piece));
  }
  world.ended = true;
  await done;
  assert.equal(seen.text, 'first;second;third;');
  assert.equal(seen.exitCode, 5);
  assert.deepEqual(seen.places, [8n], 'told once');
  assert.deepEqual(world.starts.at(0)?.stdoutPosition, undefined);
  await shim[Symbol.asyncDispose]();
});

test('another run at the same address is not its continuation', async () => {
  let shim = await startShim();
  const { seen, done } = openClient();
  await until(() => seen.places.length === 1);
  await shim[Symbol.asyncDispose]();
  world.run = 2n;
  shim = await startShim();
  await assert.rejects(done, { reason: 'RUN_OVER' });
  await shim[Symbol.asyncDispose]();
});

test('a client that goes says so to the shim; one whose api is stopped does not', async () => {
  await using _shim = await startShim();
  const gone = openClient();
  await until(() => gone.seen.places.length === 1);
  gone.abort.abort(new Error('the caller cancelled the call'));
  await until(() => world.left === 1);
  const kept = openClient();
  await until(() => kept.seen.places.length === 1);
  const reason = new FlotillaError('unavailable', 'stopping', { reason: 'SERVICE_STOPPING' });
  kept.abort.abort(reason);
  await kept.done.catch(() => {});
  assert.equal(world.left, 1);
});
