import { status } from '@grpc/grpc-js';
import { demoImage } from '../harness/engine.ts';
import { codeOf, type PatientClient } from './patient-client.ts';
import type { Random } from './random.ts';

/** What passing containers left in the load's record. */
export interface Passed {
  readonly ids: string[];
  readonly wrong: string[];
  execs: number;
  lostExecs: number;
}

/** One client: creates, starts, waits for, reads and removes one container after another until told to end. */
export async function passContainers(
  client: PatientClient,
  name: string,
  random: Random,
  passed: Passed,
  signal: AbortSignal,
): Promise<void> {
  for (let number = 0; !signal.aborted; number += 1) {
    try {
      await passOne(client, `${name}-${number}`, random, passed);
    } catch (error) {
      passed.wrong.push(`${name}-${number}: ${(error as Error).message}`);
    }
  }
}

async function passOne(client: PatientClient, name: string, random: Random, passed: Passed): Promise<void> {
  const exitCode = random.integer(0, 100);
  const lines = random.integer(1, 200);
  const script = `i=0; while [ $i -lt ${lines} ]; do echo "$i"; i=$((i+1)); done; exit ${exitCode}`;
  const config = { image: demoImage, command: ['sh', '-c', script], network_mode: random.pick(['bridge', 'none']) };
  const create = { name, idempotency_key: name, config };
  const { container_id: container } = await client.call('ContainerService', 'CreateContainer', create);
  const run = await client.startOnce(String(container));
  const wait = { container, condition: 'WAIT_CONDITION_NEXT_EXIT', after_run: String(run - 1) };
  const ended = await client.call('ContainerService', 'WaitContainer', wait);
  if (ended.exit_code !== exitCode) passed.wrong.push(`${name}: exit code ${ended.exit_code}, not ${exitCode}`);
  const text = await readLogs(client, String(container));
  const expected = Array.from({ length: lines }, (_, i) => `${i}\n`).join('');
  if (text !== expected) passed.wrong.push(`${name}: ${text.length} bytes of output, not ${expected.length}`);
  await client.call('ContainerService', 'RemoveContainer', { container }, status.NOT_FOUND);
  passed.ids.push(String(container));
}

/** All that was logged: read again from the beginning when the engine goes away in the middle. */
async function readLogs(client: PatientClient, container: string): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    try {
      let text = '';
      const request = { container, stdout: true, stderr: true };
      for await (const { data } of client.grpc.stream('ContainerService', 'StreamLogs', request)) text += String(data);
      return text;
    } catch (error) {
      if (codeOf(error) !== status.UNAVAILABLE || tries > 100) throw error;
    }
  }
}

/** Runs programs in a container that lasts, until told to end. EXEC_LOST, a clear error, is allowed: its shim was killed. */
export async function runExecs(
  client: PatientClient,
  container: string,
  passed: Passed,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    passed.execs += 1;
    try {
      const config = { command: ['sh', '-c', 'echo hello; exit 7'] };
      const { exec_id } = await client.call('ExecService', 'CreateExec', { container, config });
      const answers = await client.grpc.exchange('ExecService', 'StartExec', [{ start: { exec_id } }]);
      const exited = answers.at(-1)?.exited as { exit_code?: number } | undefined;
      if (exited?.exit_code !== 7 && exited?.exit_code !== 137) {
        passed.wrong.push(`exec: ${JSON.stringify(exited)} instead of exit code 7`);
      }
      if (exited?.exit_code === 137) passed.lostExecs += 1;
    } catch (error) {
      const code = codeOf(error);
      if (code === status.ABORTED || code === status.UNAVAILABLE) passed.lostExecs += 1;
      else passed.wrong.push(`exec: ${(error as Error).message}`);
    }
  }
}
