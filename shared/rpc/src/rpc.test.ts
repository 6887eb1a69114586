import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { createLogger, currentRequestId, withRequestId } from '@flotilla/log';
import { ExecServiceService, StartExecResponse } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService, ImportImageResponse } from '@flotilla/proto/flotilla/v1/image';
import { VersionRequest, VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { connect } from './connect.ts';
import { forward } from './forward.ts';
import { implement } from './implement.ts';
import { serve } from './serve.ts';

const folder = mkdtempSync(join(tmpdir(), 'flotilla-rpc-'));
after(() => rmSync(folder, { recursive: true }));
const lines: string[] = [];
const log = createLogger({ service: 'test', level: 'debug', destination: { write: (line) => lines.push(line) } });
let count = 0;
const freePath = () => join(folder, `${++count}.sock`);

const volumes = implement(VolumeServiceService, {
  getVolume: async ({ name }, { deadline, signal }) => {
    if (name === 'endless') await once(signal, 'abort').finally(() => signal.throwIfAborted());
    if (name === 'bug') throw new Error('secret detail');
    if (name === 'slow') await sleep(2_000);
    if (name === 'deadline') return { volume: volume(String(deadline !== undefined)) };
    if (name === 'id') return { volume: volume(currentRequestId() ?? '') };
    throw new FlotillaError('not_found', `no such volume: ${name}`, { reason: 'VOLUME_NOT_FOUND', metadata: { name } });
  },
});
function volume(name: string) {
  return { name, driver: '', options: {}, labels: {}, mountpoint: '', createdAtUnixNano: 0n, anonymous: false };
}

async function start(path: string) {
  return serve({ socketPath: path, implementations: [volumes, execs, images], service: 'test', log, drainMs: 500 });
}

let stopped = 0;
const execs = implement(ExecServiceService, {
  async *startExec(requests) {
    try {
      for await (const { message } of requests) {
        if (message?.$case === 'closeStdin') break;
        if (message?.$case !== 'stdin') continue;
        yield StartExecResponse.fromPartial({
          message: { $case: 'output', value: { stream: 'OUTPUT_STREAM_STDOUT', data: message.value } },
        });
      }
      yield StartExecResponse.fromPartial({ message: { $case: 'exited', value: { exitCode: 7 } } });
    } finally {
      stopped++;
    }
  },
});
const images = implement(ImageServiceService, {
  async *pullImage(_request, { signal }) {
    try {
      for (let current = 0n; !signal.aborted; current++) {
        yield {
          event: { $case: 'progress', value: { part: 'a', status: 'x', currentBytes: current, totalBytes: 0n } },
          digest: '',
        };
        await sleep(1);
      }
    } finally {
      stopped++;
    }
  },
  async *importImage(requests) {
    let size = 0;
    for await (const { part } of requests) if (part?.$case === 'chunk') size += part.value.length;
    yield ImportImageResponse.fromPartial({ event: { $case: 'image', value: { sizeBytes: BigInt(size) } } });
  },
});

test('an error arrives as it was thrown: code, reason, metadata, text', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume' });
  await assert.rejects(client.getVolume({ name: 'x' }), {
    code: 'not_found',
    reason: 'VOLUME_NOT_FOUND',
    metadata: { name: 'x' },
    message: 'no such volume: x',
  });
});

test('a bug is internal, its text stays in the log', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume' });
  await assert.rejects(client.getVolume({ name: 'bug' }), (error: FlotillaError) => {
    assert.equal(error.code, 'internal');
    assert.doesNotMatch(error.message, /secret/);
    assert.ok(lines.some((line) => line.includes('secret') && line.includes(error.metadata.requestId ?? '?')));
    return true;
  });
});

test('a method without a handler is unimplemented, and says which', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume' });
  await assert.rejects(client.listVolumes({ names: [], labels: [], drivers: [] }), {
    code: 'unimplemented',
    message: /ListVolumes/,
  });
});

test('the request id crosses to the handler', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume' });
  const { volume: got } = await withRequestId('abc-1', () => client.getVolume({ name: 'id' }));
  assert.equal(got?.name, 'abc-1');
});

test('a service that is not there: its name, within the deadline', async () => {
  using client = connect(VolumeServiceService, { address: `unix://${freePath()}`, name: 'volume', deadlineMs: 300 });
  const startedAt = Date.now();
  await assert.rejects(client.getVolume({ name: 'x' }), { reason: 'SERVICE_UNAVAILABLE', message: /volume service/ });
  assert.ok(Date.now() - startedAt < 2_000);
});

test('a service that hangs: its name, within the deadline', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume', deadlineMs: 200 });
  await assert.rejects(client.getVolume({ name: 'slow' }), {
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { service: 'volume', deadlineMs: '200' },
  });
});

test('a call waits for a service that is starting', async () => {
  const path = freePath();
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume' });
  const answer = client.getVolume({ name: 'deadline' });
  await sleep(150);
  await using _server = await start(path);
  assert.equal((await answer).volume?.name, 'true');
});

test('a client outlives its server', async () => {
  const path = freePath();
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume' });
  for (let round = 0; round < 3; round++) {
    await using _server = await start(path);
    assert.equal((await client.getVolume({ name: 'deadline' })).volume?.name, 'true');
  }
});

test('both directions stream, and the request side may end first', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(ExecServiceService, { address: `unix://${path}`, name: 'exec' });
  async function* requests() {
    for (const text of ['a', 'b']) {
      yield { message: { $case: 'stdin' as const, value: Buffer.from(text) } };
    }
    yield { message: { $case: 'closeStdin' as const, value: {} } };
    await sleep(10_000, undefined, { ref: false });
  }
  const seen: string[] = [];
  for await (const { message } of client.startExec(requests())) {
    seen.push(message?.$case === 'output' ? Buffer.from(message.value.data).toString() : `${message?.$case}`);
  }
  assert.deepEqual(seen, ['a', 'b', 'exited']);
});

test('chunks sent one by one arrive whole, slowly read or not', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(ImageServiceService, { address: `unix://${path}`, name: 'image' });
  async function* chunks() {
    for (let i = 0; i < 40; i++) yield { part: { $case: 'chunk' as const, value: Buffer.alloc(1 << 20) } };
  }
  for await (const { event } of client.importImage(chunks())) {
    assert.equal(event?.$case === 'image' && event.value.sizeBytes, 40n << 20n);
  }
});

test('a caller that leaves a stream stops its handler', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(ImageServiceService, { address: `unix://${path}`, name: 'image' });
  const before = stopped;
  for await (const _ of client.pullImage({ reference: 'x', platform: '', auth: undefined })) break;
  for (let i = 0; i < 2_000 && stopped === before; i++) await sleep(10);
  assert.equal(stopped, before + 1);
});

test('a caller that leaves a call is no error of the server', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'image' });
  const controller = new AbortController();
  const before = lines.length;
  const call = client.getVolume({ name: 'endless' }, { signal: controller.signal });
  setTimeout(() => controller.abort(), 200);
  await assert.rejects(call);
  await assert.rejects(client.getVolume({ name: 'bug' })); // written later than what the first one would have been
  const failures = lines.slice(before).filter((line) => line.includes('call failed'));
  assert.equal(failures.length, 1, failures.join(''));
  assert.match(failures[0] ?? '', /secret detail/);
});

test('a server that stops ends its streams with a code that says come back', async () => {
  const path = freePath();
  const server = await start(path);
  using client = connect(ImageServiceService, { address: `unix://${path}`, name: 'image' });
  let closing: Promise<void> | undefined;
  await assert.rejects(
    async () => {
      for await (const _ of client.pullImage({ reference: 'x', platform: '', auth: undefined })) {
        closing ??= server[Symbol.asyncDispose]();
      }
    },
    { reason: 'SERVICE_STOPPING' },
  );
  await closing;
});

test('a service passed on: messages, errors and streams as from its owner', async () => {
  const [ownerPath, path] = [freePath(), freePath()];
  await using _owner = await start(ownerPath);
  using passed = forward(VolumeServiceService, { address: `unix://${ownerPath}`, name: 'owner' });
  using passedImages = forward(ImageServiceService, { address: `unix://${ownerPath}`, name: 'owner' });
  await using _server = await serve({
    socketPath: path,
    implementations: [passed, passedImages],
    service: 'api',
    log,
    drainMs: 500,
  });
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'api' });
  using imageClient = connect(ImageServiceService, { address: `unix://${path}`, name: 'api' });
  await assert.rejects(client.getVolume({ name: 'x' }), { reason: 'VOLUME_NOT_FOUND', metadata: { name: 'x' } });
  assert.equal((await withRequestId('r-2', () => client.getVolume({ name: 'id' }))).volume?.name, 'r-2');
  const before = stopped;
  for await (const _ of imageClient.pullImage({ reference: 'x', platform: '', auth: undefined })) break;
  for (let i = 0; i < 2_000 && stopped === before; i++) await sleep(10);
  assert.equal(stopped, before + 1);
});

test('health, reflection and version are served by every process', async () => {
  const path = freePath();
  await using _server = await start(path);
  using client = connect(VersionServiceService, { address: `unix://${path}`, name: 'x' });
  assert.deepEqual((await client.version(VersionRequest.create())).pid, process.pid);
  const healthDefinition = loadSync(
    new URL(import.meta.resolve('grpc-health-check/proto/health/v1/health.proto')).pathname,
  );
  const Health = service(healthDefinition, 'grpc', 'health', 'v1', 'Health');
  const health = new Health(`unix://${path}`, credentials.createInsecure());
  const status = await new Promise((resolve, reject) =>
    health.Check!({ service: 'flotilla.v1.VolumeService' }, (error: Error | null, value: { status: string }) =>
      error === null ? resolve(value.status) : reject(error),
    ),
  );
  health.close();
  assert.equal(status, 1);
  const reflectionDefinition = loadSync(
    new URL(import.meta.resolve('@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto')).pathname,
  );
  const Reflection = service(reflectionDefinition, 'grpc', 'reflection', 'v1', 'ServerReflection');
  const reflection = new Reflection(`unix://${path}`, credentials.createInsecure());
  const call = reflection.ServerReflectionInfo!() as unknown as NodeJS.ReadWriteStream & {
    write(message: object): void;
  };
  call.write({ listServices: '' });
  call.end();
  const names: string[] = [];
  for await (const reply of call as unknown as AsyncIterable<{
    listServicesResponse: { service: { name: string }[] };
  }>) {
    names.push(...reply.listServicesResponse.service.map(({ name }) => name));
  }
  reflection.close();
  for (const name of ['flotilla.v1.VolumeService', 'flotilla.v1.VersionService'])
    assert.ok(names.includes(name), names.join());
});

type Stub = Record<string, (...args: unknown[]) => unknown> & { close(): void };
function service(
  definition: ReturnType<typeof loadSync>,
  ...path: string[]
): new (
  address: string,
  creds: unknown,
) => Stub {
  let found: unknown = loadPackageDefinition(definition);
  for (const part of path) found = (found as Record<string, unknown>)[part];
  return found as new (
    address: string,
    creds: unknown,
  ) => Stub;
}

test('a socket that somebody holds but nobody serves: the name, within the deadline', async () => {
  const path = freePath();
  const accepted = new Set<Socket>();
  const queue = createServer((socket) => accepted.add(socket)).listen(path);
  using client = connect(VolumeServiceService, { address: `unix://${path}`, name: 'volume', deadlineMs: 400 });
  await assert.rejects(client.getVolume({ name: 'deadline' }), { reason: 'SERVICE_UNAVAILABLE', message: /volume/ });
  for (const socket of accepted) socket.destroy();
  queue.close();
});
