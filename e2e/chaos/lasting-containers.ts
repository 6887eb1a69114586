import { readFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import { demoImage } from '../harness/engine.ts';
import type { PatientClient } from './patient-client.ts';
import { AttachedClient, Follower, type Seen, type Watcher } from './watchers.ts';

/** A container that runs through it all and writes numbered lines; what is known of it without asking the engine. */
export interface LastingContainer {
  readonly id: string;
  readonly tty: boolean;
  /** Whether it writes to a log that can be read. */
  readonly logged: boolean;
  readonly exitCode: number;
  readonly initPid: number;
  /** Of init, in ticks after boot: a pid alone may be another process later. */
  readonly startTime: string;
  readonly watchers: readonly Watcher[];
  /** What was done with it since it started, as its events must tell. */
  readonly changes: string[];
}

/**
 * Every fourth has a terminal, every fifth logs to `local`, every seventh to nothing at all; the log of every third is
 * followed, every third has a client attached.
 */
export async function startLasting(client: PatientClient, number: number, pauseMs: number): Promise<LastingContainer> {
  const exitCode = 1 + (number % 120);
  const tty = number % 4 === 3;
  const driver = number % 7 === 6 ? 'none' : number % 5 === 4 ? 'local' : 'json-file';
  const logged = driver !== 'none';
  const line = tty ? 'echo "o $i"' : 'echo "o $i"; echo "e $i" >&2';
  const script = `trap "exit ${exitCode}" TERM; i=0; while :; do ${line}; i=$((i+1)); usleep ${pauseMs * 1_000}; done`;
  const name = `lasting-${number}`;
  const config = {
    image: demoImage,
    command: ['sh', '-c', script],
    tty,
    log: { driver },
    network_mode: number % 3 === 0 ? 'bridge' : 'none',
    stop_timeout_seconds: 60,
  };
  const request = { name, idempotency_key: name, config };
  const { container_id } = await client.call('ContainerService', 'CreateContainer', request);
  const id = String(container_id);
  const attached = number % 3 === 2 || !logged ? new AttachedClient(client, id).begin() : undefined;
  await client.start(id);
  const follower = number % 3 === 1 && logged ? new Follower(client, id).begin() : undefined;
  await attached?.untilConnected();
  const { init_pid: initPid } = await client.status(id);
  const startTime = startTimeOf(initPid);
  const watchers = [attached, follower].filter((one) => one !== undefined);
  return { id, tty, logged, exitCode, initPid, startTime, watchers, changes: [] };
}

/** Ends it; what is wrong with its exit code, its output and its life, compared with what is known of it. */
export async function endLasting(client: PatientClient, container: LastingContainer): Promise<readonly string[]> {
  const { id, initPid, startTime, exitCode } = container;
  const wrong: string[] = [];
  const say = (text: string) => wrong.push(`${id.slice(0, 12)}: ${text}`);
  if (startTimeOf(initPid) !== startTime) say(`its init ${initPid} is gone`);
  const { init_pid: told } = await client.status(id);
  if (told !== initPid) say(`init is said to be ${told}, it was ${initPid}`);
  await client.call('ContainerService', 'StopContainer', { container: id });
  const ended = await client.call('ContainerService', 'WaitContainer', { container: id });
  if (ended.exit_code !== exitCode) say(`exit code ${ended.exit_code}, ${exitCode} was expected`);
  for (const text of await wrongOutput(client, container)) say(text);
  await client.call('ContainerService', 'RemoveContainer', { container: id }, status.NOT_FOUND);
  return wrong;
}

async function wrongOutput(client: PatientClient, container: LastingContainer): Promise<readonly string[]> {
  const { tty, logged, watchers } = container;
  const log = logged ? await readLog(client, container) : undefined;
  const wrong = log === undefined ? [] : wrongLines(log, tty);
  for (const watcher of watchers) {
    const { name, seen } = watcher;
    wrong.push(...(await watcher.end()), ...wrongLines(seen, tty).map((text) => `${name}: ${text}`));
    if (log === undefined) continue;
    for (const stream of ['OUTPUT_STREAM_STDOUT', 'OUTPUT_STREAM_STDERR'] as const) {
      if (seen[stream] !== log[stream]) {
        wrong.push(`${name} saw ${seen[stream].length} bytes of ${stream}, the log has ${log[stream].length}`);
      }
    }
  }
  return wrong;
}

async function readLog(client: PatientClient, { id }: LastingContainer): Promise<Seen> {
  const request = { container: id, stdout: true, stderr: true };
  const seen: Seen = { OUTPUT_STREAM_STDOUT: '', OUTPUT_STREAM_STDERR: '' };
  for await (const { stream, data } of client.grpc.stream('ContainerService', 'StreamLogs', request)) {
    seen[stream as keyof Seen] += String(data);
  }
  return seen;
}

function wrongLines(seen: Seen, tty: boolean): string[] {
  const wrong = wrongNumbers(seen.OUTPUT_STREAM_STDOUT, 'o');
  return tty ? wrong : [...wrong, ...wrongNumbers(seen.OUTPUT_STREAM_STDERR, 'e')];
}

/** The first line out of order, or a text that ends too early to have been written for seconds. */
export function wrongNumbers(text: string, letter: string): string[] {
  const lines = text.replaceAll('\r\n', '\n').split('\n').slice(0, -1);
  if (lines.length < 2) return [`${lines.length} lines of ${letter}`];
  const at = lines.findIndex((line, i) => line !== `${letter} ${i}`);
  return at === -1 ? [] : [`line ${at} of ${lines.length} is ${JSON.stringify(lines[at])}, not ${letter} ${at}`];
}

/** Field 22 of proc_pid_stat(5); empty when there is no such process. */
function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
