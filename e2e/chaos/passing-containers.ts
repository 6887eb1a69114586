import { status } from '@grpc/grpc-js';
import { demoImage } from '../harness/engine.ts';
import { waitFor } from '../harness/wait.ts';
import { type LoadRecord, lifeStory } from './load-record.ts';
import { codeOf, isDiskFull, type PatientClient } from './patient-client.ts';
import type { Random } from './random.ts';

/** Four runs, each of which may have to wait as long as a call may. */
const restartsMs = 240_000;

/** One client: creates, starts, waits for, reads and removes one container after another until told to end. */
export async function passContainers(
  client: PatientClient,
  name: string,
  random: Random,
  record: LoadRecord,
  signal: AbortSignal,
): Promise<void> {
  for (let number = 0; !signal.aborted; number += 1) {
    try {
      const pass = random.next() < 0.25 ? passRestarting : passOne;
      await pass(client, `${name}-${number}`, random, record);
    } catch (error) {
      record.wrong.push(`${name}-${number}: ${(error as Error).message}`);
    }
  }
}

async function passOne(client: PatientClient, name: string, random: Random, record: LoadRecord): Promise<void> {
  const exitCode = random.integer(0, 100);
  const lines = random.integer(1, 200);
  const script = `i=0; while [ $i -lt ${lines} ]; do echo "$i"; i=$((i+1)); done; exit ${exitCode}`;
  const container = await create(client, name, random, { command: ['sh', '-c', script] });
  const run = await client.start(container);
  const wait = { container, condition: 'WAIT_CONDITION_NEXT_EXIT', after_run: String(run - 1) };
  const ended = await client.call('ContainerService', 'WaitContainer', wait);
  const say = (text: string) => record.wrong.push(`${name} (${container.slice(0, 12)}): ${text}`);
  if (ended.exit_code !== exitCode) say(`exit code ${ended.exit_code}, not ${exitCode} ${ended.error}`);
  const expected = Array.from({ length: lines }, (_, i) => `${i}\n`).join('');
  const text = await readLogs(client, container);
  if (text !== expected) say(`${text.length} bytes of output, not ${expected.length}`);
  await remove(client, container, record, 1);
  record.count('containers that passed');
}

/** Fails as often as is known, is started again by its policy each time, and then ends well. */
async function passRestarting(client: PatientClient, name: string, random: Random, record: LoadRecord): Promise<void> {
  const runs = random.integer(2, 4);
  // A disk that is full does not make it forget which run it is: it waits for room, as long as it takes.
  const note = 'until echo $n >/runs.new && mv /runs.new /runs; do usleep 100000; done 2>/dev/null';
  const count = `n=$(cat /runs 2>/dev/null || echo 0); n=$((n+1)); ${note}; echo "run $n"`;
  const container = await create(client, name, random, {
    command: ['sh', '-c', `${count}; [ $n -ge ${runs} ] || exit 5`],
    restart_policy: { name: 'on-failure', maximum_retries: 9 },
  });
  await client.start(container);
  const say = (text: string) => record.wrong.push(`${name} (${container.slice(0, 12)}): ${text}`);
  const ended = await waitFor(
    'it has run as often as its policy has it',
    async () => {
      await client.call('ContainerService', 'WaitContainer', { container, condition: 'WAIT_CONDITION_NOT_RUNNING' });
      const now = await client.status(container);
      return now.state === 'CONTAINER_STATE_EXITED' && !now.restarting && now;
    },
    restartsMs,
  );
  if (ended.exit_code !== 0) say(`ended with ${ended.exit_code} instead of being started again ${ended.error}`);
  const expected = Array.from({ length: runs }, (_, i) => `run ${i + 1}\n`).join('');
  const text = await readLogs(client, container);
  if (text !== expected) say(`wrote ${JSON.stringify(text)}, not ${runs} runs`);
  await remove(client, container, record, runs);
  record.count('containers that were restarted');
}

async function create(client: PatientClient, name: string, random: Random, more: object): Promise<string> {
  const config = { image: demoImage, network_mode: random.pick(['bridge', 'none']), ...more };
  const request = { name, idempotency_key: name, config };
  const { container_id: id } = await client.call('ContainerService', 'CreateContainer', request);
  return String(id);
}

async function remove(client: PatientClient, container: string, record: LoadRecord, runs: number): Promise<void> {
  await client.call('ContainerService', 'RemoveContainer', { container }, status.NOT_FOUND);
  record.stories.set(container, lifeStory(runs));
}

/** All that was logged: read again from the beginning when the engine goes away in the middle. */
async function readLogs(client: PatientClient, container: string): Promise<string> {
  const { text } = await client.patiently('StreamLogs', async () => {
    let text = '';
    const request = { container, stdout: true, stderr: true };
    for await (const { data } of client.grpc.stream('ContainerService', 'StreamLogs', request)) text += String(data);
    return { text };
  });
  return String(text);
}

/** Runs programs in a container that lasts, until told to end. EXEC_LOST, a clear error, is allowed: its shim was killed. */
export async function runExecs(
  client: PatientClient,
  container: string,
  record: LoadRecord,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    record.count('execs');
    try {
      const config = { command: ['sh', '-c', 'echo hello; exit 7'] };
      const { exec_id } = await client.call('ExecService', 'CreateExec', { container, config });
      const answers = await client.grpc.exchange('ExecService', 'StartExec', [{ start: { exec_id } }]);
      const exited = answers.at(-1)?.exited as { exit_code?: number } | undefined;
      if (exited?.exit_code !== 7 && exited?.exit_code !== 137) {
        record.wrong.push(`exec: ${JSON.stringify(exited)} instead of exit code 7`);
      }
      if (exited?.exit_code === 137) record.count('execs lost with their shim');
    } catch (error) {
      const code = codeOf(error);
      if (code === status.ABORTED || code === status.UNAVAILABLE || isDiskFull(error))
        record.count('execs lost with their shim');
      else record.wrong.push(`exec: ${(error as Error).message}`);
    }
  }
}
