import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Paths, socketPath } from '@flotilla/config';
import { VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { connect } from '@flotilla/rpc';
import { instanceFiles } from './instance-files.ts';
import { askLauncherPid } from './launcher-state.ts';
import type { RunningProcess } from './running-process.ts';
import type { ServiceName } from './services.ts';

const askMs = 2_000;
const pollMs = 20;

/** Waits until a process answers on its service's socket; a text that says why it is not healthy when it does not. */
export async function findIllness(
  paths: Paths,
  name: ServiceName | 'nats',
  process: RunningProcess,
  limitMs: number,
): Promise<string | undefined> {
  const deadline = Date.now() + limitMs;
  let last = 'it did not answer';
  while (Date.now() < deadline) {
    if (process.hasEnded) return `it ended${process.status === '' ? '' : `: ${process.status}`}`;
    try {
      const pid = await Promise.race([ask(paths, name), process.exited.then(() => 0)]);
      if (pid === process.pid) return undefined;
      if (pid !== 0) last = `process ${pid} answered in its place`;
    } catch (error) {
      last = (error as Error).message;
    }
    await sleep(pollMs);
  }
  return `within ${limitMs / 1000} s: ${last}`;
}

/** Process id of the one that answers. NATS does not tell: 0 until it accepts, then that of the server asked for. */
async function ask(paths: Paths, name: ServiceName | 'nats'): Promise<number> {
  if (name === 'nats') return await askNats(paths);
  const path = socketPath(paths, name);
  if (name === 'launcher') return await askLauncherPid(path, askMs);
  using client = connect(VersionServiceService, { address: `unix://${path}`, name, deadlineMs: askMs });
  return (await client.version({})).pid;
}

/** The server whose port this is: a child of this keeper's, recorded. */
async function askNats(paths: Paths): Promise<number> {
  const files = instanceFiles(paths);
  const { hostname, port } = new URL(readFileSync(files.natsUrl, 'utf8').trim());
  const socket = connectTcp(Number(port), hostname);
  const signal = AbortSignal.timeout(askMs);
  signal.addEventListener('abort', () => socket.destroy(new Error(`no answer within ${askMs} ms`)));
  for await (const piece of socket) {
    if (String(piece).startsWith('INFO ')) return Number(readFileSync(files.pidFile('nats.next'), 'utf8'));
    break;
  }
  throw new Error('no NATS server answered');
}
