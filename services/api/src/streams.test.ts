import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AttachContainerRequest, AttachStart } from '@flotilla/proto/flotilla/v1/container';
import type { StartExecRequest } from '@flotilla/proto/flotilla/v1/exec';
import { ApiRig } from './testing/api-rig.ts';
import { containerId } from './testing/fake-owners.ts';

const rig = await ApiRig.start();
after(() => rig[Symbol.asyncDispose]());
const { containers, execs, owners } = rig;
beforeEach(() => owners.reset());

test('logs that are followed go on without gap or double when the supervisor restarts', async () => {
  let server = await rig.startSupervisor();
  owners.logs.push('1', '2');
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
  owners.logs.push('3', '4');
  await sleep(100);
  server = await rig.startSupervisor();
  owners.logs.push('5');
  while (seen.length < 5) await sleep(5);
  owners.logEnd = true;
  await reading;
  assert.deepEqual(seen, ['1', '2', '3', '4', '5']);
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
  await using _server = await rig.startSupervisor();
  await using _shim = await rig.startShim();
  owners.tty = false;
  const resize: AttachContainerRequest = { message: { $case: 'resize', value: { rows: 24, columns: 80 } } };
  const { text, detached } = await attach(attachStart, (seen) => {
    if (seen === '') return [resize, stdin('a\x10\x11b')];
    return seen.includes('b') ? [closeStdin] : undefined;
  });
  assert.equal(detached, false);
  assert.equal(text, 'init expected=true\n24x80a\x10\x11b');
});

test('detach keys end an attachment to a terminal, and what follows them does not reach it', async () => {
  await using _server = await rig.startSupervisor();
  await using _shim = await rig.startShim();
  let sent = false;
  const attachmentsBefore = owners.attachments.length;
  const { text, detached } = await attach(attachStart, (seen) => {
    if (sent || !seen.includes('init')) return undefined;
    sent = true;
    return [stdin('a\x10'), stdin('\x11b')];
  });
  assert.equal(detached, true);
  assert.equal(owners.attachments.length, attachmentsBefore + 1, 'announced once');
  while (owners.detached.length === 0) await sleep(5);
  assert.deepEqual(
    owners.detached.map(({ containerId: id, execId }) => ({ id, execId })),
    [{ id: containerId, execId: '' }],
  );
  assert.doesNotMatch(text, /b$/);
});

test('an attachment outlives the supervisor, and the shim for which another takes over', async () => {
  const server = await rig.startSupervisor();
  let shim = await rig.startShim();
  owners.tty = false;
  let step = 0;
  const restart = async () => {
    await server[Symbol.asyncDispose]();
    await shim[Symbol.asyncDispose]();
    rig.stack.use(await rig.startSupervisor());
    shim = rig.stack.use(await rig.startShim());
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
  rig.stack.use(await rig.startSupervisor());
  await using _shim = await rig.startShim();
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
    rig.stack.use(await rig.startSupervisor());
    await assert.rejects(() => attach(start, () => undefined), { reason: 'INVALID_FIELD', message: field });
  });
}

test('what an exec that has ended wrote last is fetched from the shim that takes over', async () => {
  rig.stack.use(await rig.startSupervisor());
  await using _shim = await rig.startShim();
  owners.handsOverUntil = performance.now() + 300; // in which the supervisor says that it has ended
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
