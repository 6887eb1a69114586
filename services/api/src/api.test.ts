import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadPaths, socketPath } from '@flotilla/config';
import { FlotillaError } from '@flotilla/errors';
import { createLogger, currentRequestId, withRequestId } from '@flotilla/log';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { type AttachRequest, AttachResponse, ShimServiceService } from '@flotilla/proto/flotilla/shim/v1/shim';
import {
  type ReportDetachRequest,
  ResolveTaskResponse,
  SupervisorServiceService,
} from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import {
  type AttachContainerRequest,
  AttachStart,
  Container,
  ContainerServiceService,
  StreamLogsResponse,
} from '@flotilla/proto/flotilla/v1/container';
import { Exec, ExecServiceService, type StartExecRequest } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { connect, implement, type RpcServer, serve } from '@flotilla/rpc';
import { askLauncherState } from './adapters/launcher-state.ts';
import { connectSupervisor } from './adapters/owners.ts';
import { ShimConnections } from './adapters/shim-connections.ts';
import { ownedServices } from './server/services.ts';

const folder = mkdtempSync('/tmp/fl-api-');
after(() => rmSync(folder, { recursive: true }));
const paths = loadPaths({ FLOTILLA_ROOT: `${folder}/root`, FLOTILLA_RUN: folder });
const log = createLogger({ service: 'test', level: 'silent' });
const stack = new AsyncDisposableStack();
const deadlineMs = 700;
const supervisor = stack.use(connectSupervisor(`unix://${socketPath(paths, 'supervisor')}`, deadlineMs));
const stopping = new AbortController();
const shims = stack.use(new ShimConnections());
const owned = ownedServices({ paths, supervisor, shims, deadlineMs, resumeMs: 5_000, stopping: stopping.signal }).map(
  (one) => stack.use(one),
);
stack.use(await serve({ socketPath: socketPath(paths, 'api'), implementations: owned, service: 'api', log }));
const address = `unix://${socketPath(paths, 'api')}`;
const containers = stack.use(connect(ContainerServiceService, { address, name: 'api' }));
const execs = stack.use(connect(ExecServiceService, { address, name: 'api' }));
const images = stack.use(connect(ImageServiceService, { address, name: 'api' }));
const volumes = stack.use(connect(VolumeServiceService, { address, name: 'api' }));
after(() => stack.disposeAsync());

const containerId = 'c'.repeat(64);
const shimAddress = `unix://${folder}/shim.sock`;
/** What the owner behind the api was asked, and what it knows. */
const owner = {
  tty: true,
  afterRuns: [] as unknown[],
  logs: [] as string[],
  logEnd: false,
  waitAnswers: true,
  attachments: [] as string[],
  detached: [] as ReportDetachRequest[],
  /** Until then the shim lets everybody go. */
  handsOverUntil: 0,
};
beforeEach(() => Object.assign(owner, { tty: true, afterRuns: [], logs: [], logEnd: false, waitAnswers: true }));

const containerService = implement(ContainerServiceService, {
  getContainer: async ({ container }) => {
    if (container !== containerId) {
      throw new FlotillaError('not_found', `no such container: ${container}`, {
        reason: 'CONTAINER_NOT_FOUND',
        metadata: { container },
      });
    }
    const status = { state: 'CONTAINER_STATE_RUNNING' as const };
    return {
      container: Container.fromPartial({
        containerId,
        name: currentRequestId() ?? '',
        config: { tty: owner.tty },
        status,
      }),
    };
  },
  async *streamLogs({ follow, afterCursor, tail }, { signal }) {
    let at = afterCursor === '' ? 0 : Number(afterCursor);
    if (afterCursor === '' && tail !== undefined) at = Math.max(owner.logs.length - Number(tail), 0);
    while (!signal.aborted) {
      for (; at < owner.logs.length; at++) {
        const data = Buffer.from(owner.logs[at] ?? '');
        yield StreamLogsResponse.fromPartial({ stream: 'OUTPUT_STREAM_STDOUT', data, cursor: String(at + 1) });
      }
      if (!follow || owner.logEnd) return;
      await sleep(5);
    }
  },
  waitContainer: async ({ afterRun }, { signal }) => {
    owner.afterRuns.push(afterRun);
    while (!owner.waitAnswers && !signal.aborted) await sleep(5);
    return { exitCode: 7, error: '', run: 1n };
  },
});
const supervisorService = implement(SupervisorServiceService, {
  resolveTask: async ({ attachmentId }) => {
    if (attachmentId !== '') owner.attachments.push(attachmentId);
    return ResolveTaskResponse.fromPartial({ containerId, shimAddress, run: 1n, expected: true });
  },
  reportDetach: async (request) => {
    owner.detached.push(request);
    return {};
  },
  startExecProcess: async ({ execId }) => ({
    shimAddress,
    exec: {
      execId,
      containerId,
      running: true,
      pid: 42,
      config: {
        command: ['cat'],
        env: [],
        user: '',
        workingDir: '',
        tty: false,
        stdin: true,
        privileged: false,
        size: undefined,
        detachKeys: '',
      },
    },
  }),
});
const execService = implement(ExecServiceService, {
  getExec: async ({ execId }) => ({ exec: Exec.fromPartial({ execId, containerId, running: false, exitCode: 3 }) }),
});
/** Echoes input; ends with code 3 at the end of input. */
const shimService = implement(ShimServiceService, {
  async *attach(requests: AsyncIterable<AttachRequest>) {
    for await (const { message } of requests) {
      if (performance.now() < owner.handsOverUntil) {
        throw new FlotillaError('unavailable', 'another shim takes over', { reason: 'SHIM_REPLACED' });
      }
      if (message?.$case === 'start') {
        yield AttachResponse.fromPartial({ message: { $case: 'started', value: { tty: owner.tty } } });
        const text = `${message.value.execId === '' ? 'init' : 'exec'} expected=${message.value.expected}\n`;
        yield outputOf(text);
      }
      if (message?.$case === 'stdin') yield outputOf(message.value.toString());
      if (message?.$case === 'resize') yield outputOf(`${message.value.rows}x${message.value.columns}`);
      if (message?.$case === 'closeStdin') break;
    }
    yield AttachResponse.fromPartial({ message: { $case: 'ended', value: { exitCode: 3 } } });
  },
});
function outputOf(text: string) {
  const value = { stream: 'OUTPUT_STREAM_STDOUT' as const, data: Buffer.from(text) };
  return AttachResponse.fromPartial({ message: { $case: 'output', value } });
}
const imageService = implement(ImageServiceService, {
  async *loadImages(requests, { signal }) {
    let bytes = 0n;
    for await (const { chunk } of requests) bytes += BigInt(chunk.length);
    const progress = { part: 'all', status: 'done', currentBytes: bytes, totalBytes: bytes };
    yield { event: { $case: 'progress' as const, value: progress } };
    if (signal.aborted) throw new Error('aborted');
  },
});

const startSupervisor = (): Promise<RpcServer> =>
  serve({
    socketPath: socketPath(paths, 'supervisor'),
    implementations: [containerService, execService, supervisorService],
    service: 'supervisor',
    log,
    drainMs: 20,
  });
const startShim = (): Promise<RpcServer> =>
  serve({ socketPath: `${folder}/shim.sock`, implementations: [shimService], service: 'shim', log, drainMs: 20 });

test('a call is passed on with its request id, an error comes back with its details', async () => {
  await using _server = await startSupervisor();
  const { container } = await withRequestId('r-1', () => containers.getContainer({ container: containerId }));
  assert.equal(container?.name, 'r-1');
  await assert.rejects(() => containers.getContainer({ container: 'x' }), {
    code: 'not_found',
    reason: 'CONTAINER_NOT_FOUND',
    metadata: { container: 'x' },
  });
});

test('a service that is down is named, within the deadline', async () => {
  const startedAt = Date.now();
  const expected = { code: 'unavailable', reason: 'SERVICE_UNAVAILABLE', message: /image/ };
  await assert.rejects(() => volumes.getVolume({ name: 'v' }, { deadlineMs: Number.POSITIVE_INFINITY }), expected);
  assert.ok(Date.now() - startedAt < 3_000, 'the deadline of the api');
  const askedAt = Date.now();
  await assert.rejects(() => volumes.getVolume({ name: 'v' }, { deadlineMs: 150 }), { reason: 'SERVICE_UNAVAILABLE' });
  assert.ok(Date.now() - askedAt < 600, "the client's own deadline");
});

test('a stream to a service that is down is refused within the deadline', async () => {
  const chunks = async function* () {
    yield { chunk: Buffer.alloc(10) };
  };
  await assert.rejects(
    async () => {
      for await (const _ of images.loadImages(chunks(), { deadlineMs: 1_500 })) assert.fail('an answer from nobody');
    },
    { reason: 'SERVICE_UNAVAILABLE', message: /image/ },
  );
});

test('a stream of chunks reaches its owner whole, and may take longer than the deadline', async () => {
  const socket = socketPath(paths, 'image');
  await using _server = await serve({ socketPath: socket, implementations: [imageService], service: 'image', log });
  const chunks = async function* () {
    for (let index = 0; index < 10; index++) {
      yield { chunk: Buffer.alloc(1 << 20) };
      await sleep(100);
    }
  };
  const seen: bigint[] = [];
  for await (const { event } of images.loadImages(chunks())) {
    if (event?.$case === 'progress') seen.push(event.value.currentBytes);
  }
  assert.deepEqual(seen, [10n << 20n]);
});

test('logs that are followed go on without gap or double when the supervisor restarts', async () => {
  let server = await startSupervisor();
  owner.logs.push('1', '2');
  const seen: string[] = [];
  const reading = (async () => {
    const request = {
      container: containerId,
      follow: true,
      details: false,
      stdout: true,
      stderr: true,
      afterCursor: '',
    };
    for await (const { data } of containers.streamLogs(request)) seen.push(data.toString());
  })();
  while (seen.length < 2) await sleep(5);
  await server[Symbol.asyncDispose]();
  owner.logs.push('3', '4');
  await sleep(100);
  server = await startSupervisor();
  owner.logs.push('5');
  while (seen.length < 5) await sleep(5);
  owner.logEnd = true;
  await reading;
  assert.deepEqual(seen, ['1', '2', '3', '4', '5']);
  await server[Symbol.asyncDispose]();
});

test('a wait that says after which run is asked again when the supervisor restarts', async () => {
  let server = await startSupervisor();
  owner.waitAnswers = false;
  const waiting = containers.waitContainer(
    { container: containerId, condition: 'WAIT_CONDITION_NEXT_EXIT', afterRun: 0n },
    { deadlineMs: Number.POSITIVE_INFINITY },
  );
  while (owner.afterRuns.length < 1) await sleep(5);
  await server[Symbol.asyncDispose]();
  owner.waitAnswers = true;
  server = await startSupervisor();
  assert.deepEqual(await waiting, { exitCode: 7, error: '', run: 1n });
  assert.deepEqual(owner.afterRuns, [0n, 0n]);
  await server[Symbol.asyncDispose]();
});

const attachStart = AttachStart.fromPartial({ container: containerId, stdin: true, stdout: true, stderr: true });

/** Attaches and says what came, message by message, while it does what `act` asks. */
async function attach(start: AttachStart, act: (text: string) => AttachContainerRequest[] | undefined) {
  const queue: AttachContainerRequest[] = [{ message: { $case: 'start', value: start } }];
  let wake = () => {};
  const requests = async function* () {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  };
  let text = '';
  for await (const { message } of containers.attachContainer(requests())) {
    if (message?.$case === 'output') text += message.value.data.toString();
    if (message?.$case === 'ended') return { text, detached: message.value.detached };
    queue.push(...(act(text) ?? []));
    wake();
  }
  throw new Error('the call ended without `ended`');
}
const stdin = (text: string): AttachContainerRequest => ({
  message: { $case: 'stdin', value: Buffer.from(text) },
});
const closeStdin: AttachContainerRequest = { message: { $case: 'closeStdin', value: {} } };

test('attach carries input, output, size and end between the client and the shim', async () => {
  await using _server = await startSupervisor();
  await using _shim = await startShim();
  owner.tty = false;
  const resize: AttachContainerRequest = { message: { $case: 'resize', value: { rows: 24, columns: 80 } } };
  const { text, detached } = await attach(attachStart, (seen) => {
    if (seen === '') return [resize, stdin('a\x10\x11b')];
    return seen.includes('b') ? [closeStdin] : undefined;
  });
  assert.equal(detached, false);
  assert.equal(text, 'init expected=true\n24x80a\x10\x11b');
});

test('detach keys end an attachment to a terminal, and what follows them does not reach it', async () => {
  await using _server = await startSupervisor();
  await using _shim = await startShim();
  let sent = false;
  const attachmentsBefore = owner.attachments.length;
  const { text, detached } = await attach(attachStart, (seen) => {
    if (sent || !seen.includes('init')) return undefined;
    sent = true;
    return [stdin('a\x10'), stdin('\x11b')];
  });
  assert.equal(detached, true);
  assert.equal(owner.attachments.length, attachmentsBefore + 1, 'announced once');
  while (owner.detached.length === 0) await sleep(5);
  assert.deepEqual(
    owner.detached.map(({ containerId: id, execId }) => ({ id, execId })),
    [{ id: containerId, execId: '' }],
  );
  assert.doesNotMatch(text, /b$/);
});

test('an attachment outlives the supervisor, and the shim for which another takes over', async () => {
  const server = await startSupervisor();
  let shim = await startShim();
  owner.tty = false;
  let step = 0;
  const restart = async () => {
    await server[Symbol.asyncDispose]();
    await shim[Symbol.asyncDispose]();
    stack.use(await startSupervisor());
    shim = stack.use(await startShim());
  };
  let restarted = Promise.resolve();
  const { text } = await attach(attachStart, (seen) => {
    if (step === 0 && seen.includes('init')) {
      step = 1;
      restarted = restart();
      return [];
    }
    if (step === 1 && seen.split('init').length === 3) {
      step = 2;
      return [stdin('again'), closeStdin];
    }
    return [];
  });
  await restarted;
  assert.match(text, /again$/);
});

test('an exec is started at the supervisor and its streams are the shim’s', async () => {
  stack.use(await startSupervisor());
  await using _shim = await startShim();
  const requests = async function* (): AsyncGenerator<StartExecRequest> {
    yield { message: { $case: 'start', value: { execId: 'e', detach: false, resume: false } } };
    yield { message: { $case: 'stdin', value: Buffer.from('hello') } };
    yield { message: { $case: 'closeStdin', value: {} } };
  };
  const seen: string[] = [];
  for await (const { message } of execs.startExec(requests())) {
    if (message?.$case === 'started') seen.push(`pid ${message.value.pid}`);
    if (message?.$case === 'output') seen.push(message.value.data.toString());
    if (message?.$case === 'exited') seen.push(`exit ${message.value.exitCode}`);
  }
  assert.deepEqual(seen, ['pid 42', 'exec expected=false\n', 'hello', 'exit 3']);
});

for (const [name, start, field] of [
  ['nothing to attach', { ...attachStart, stdin: false, stdout: false, stderr: false }, /stdin, stdout and stderr/],
  ['keys that are none', { ...attachStart, detachKeys: 'ctrl-' }, /detach_keys/],
] as const) {
  test(`attach refuses ${name}`, async () => {
    stack.use(await startSupervisor());
    await assert.rejects(() => attach(start, () => undefined), { reason: 'INVALID_FIELD', message: field });
  });
}

test('what an exec that has ended wrote last is fetched from the shim that takes over', async () => {
  stack.use(await startSupervisor());
  await using _shim = await startShim();
  owner.handsOverUntil = performance.now() + 300; // in which the supervisor says that it has ended
  const requests = async function* (): AsyncGenerator<StartExecRequest> {
    yield { message: { $case: 'start', value: { execId: 'e', detach: false, resume: false } } };
    yield { message: { $case: 'closeStdin', value: {} } };
  };
  const seen: string[] = [];
  for await (const { message } of execs.startExec(requests())) {
    if (message?.$case === 'output') seen.push(message.value.data.toString());
    if (message?.$case === 'exited') seen.push(`exit ${message.value.exitCode}`);
  }
  assert.deepEqual(seen, ['exec expected=false\n', 'exit 3']);
});

test('the launcher is asked over its own protocol, also when its answer comes in pieces', async () => {
  const path = join(folder, 'l.sock');
  mkdirSync(folder, { recursive: true });
  const state = {
    forkMode: 'fork',
    forkProblem: '',
    pid: 7,
    version: '0.1.0',
    forks: 1n,
    replaced: 0n,
    shims: 2,
    replacedShims: 0n,
    orphans: 0,
    keptDescriptors: 0,
    storedDescriptors: 0,
  };
  const reply = Buffer.from(LauncherReply.encode({ reply: { $case: 'state', value: state } }).finish());
  const asked: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', async (data) => {
      asked.push(Buffer.from(data));
      socket.write(Buffer.from([reply.length]));
      await sleep(10);
      socket.write(reply.subarray(0, 3));
      await sleep(10);
      socket.end(reply.subarray(3));
    });
  }).listen(path);
  try {
    assert.deepEqual(await askLauncherState(path, 1_000), state);
    // Field 2 of LauncherRequest, an empty message, behind its length.
    assert.deepEqual([...Buffer.concat(asked)], [2, 0x12, 0]);
  } finally {
    server.close();
  }
  await assert.rejects(() => askLauncherState(join(folder, 'none.sock'), 500), { reason: 'SERVICE_UNAVAILABLE' });
});

test('a wait ends when the api begins to stop, with a code that says come back', async () => {
  stack.use(await startSupervisor());
  owner.waitAnswers = false;
  const waiting = containers.waitContainer(
    { container: containerId, condition: 'WAIT_CONDITION_NOT_RUNNING' },
    { deadlineMs: Number.POSITIVE_INFINITY },
  );
  const refused = assert.rejects(waiting, { code: 'unavailable', reason: 'SERVICE_STOPPING' });
  while (owner.afterRuns.length < 1) await sleep(5);
  stopping.abort();
  await refused;
});
