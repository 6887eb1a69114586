import type { GrpcClient } from '../../harness/grpc-client.ts';
import type { Known, Report } from './record.ts';
import type { Seen } from './seen.ts';

interface Told {
  readonly sequence: number;
  readonly id: string;
  readonly action: string;
  readonly actor: string;
  readonly name: string;
}

/** What is wrong with the history of events, compared with the record. */
export async function wrongHistory(
  client: GrpcClient,
  reports: readonly Report[],
  known: ReadonlyMap<string, Known>,
  seen: ReadonlyMap<string, Seen>,
): Promise<string[]> {
  const history = await readHistory(client);
  return [
    ...wrongOrder(history),
    ...wrongMemory(history, reports),
    ...wrongStories(history, known, seen),
    ...wrongAcknowledged(history, reports),
  ];
}

async function readHistory(client: GrpcClient): Promise<readonly Told[]> {
  const request = { since_unix_nano: '1', until_unix_nano: String(BigInt(Date.now()) * 1_000_000n) };
  const history: Told[] = [];
  for await (const { sequence, event } of client.stream('EventService', 'StreamEvents', request)) {
    const { event_id, action, actor_id, attributes } = event as {
      readonly event_id: string;
      readonly action: string;
      readonly actor_id: string;
      readonly attributes: Record<string, string>;
    };
    const name = attributes.name ?? '';
    history.push({ sequence: Number(sequence), id: event_id, action, actor: actor_id, name });
  }
  return history;
}

function wrongOrder(history: readonly Told[]): string[] {
  const wrong: string[] = [];
  const ids = new Set<string>();
  for (const [i, { sequence, id, action }] of history.entries()) {
    if (i > 0 && sequence <= history[i - 1]!.sequence) wrong.push(`event ${sequence} comes after a later one`);
    if (ids.has(id)) wrong.push(`event ${id} (${action}) is there twice`);
    ids.add(id);
  }
  return wrong;
}

/** What was once received is there for ever, and in its place. */
function wrongMemory(history: readonly Told[], reports: readonly Report[]): string[] {
  const places = new Map(history.map(({ id, sequence }) => [id, sequence]));
  return reports
    .filter((report) => report.kind === 'event')
    .filter(({ id, sequence }) => places.get(id) !== sequence)
    .map(({ id, sequence }) => `event ${id} was ${sequence} and is ${places.get(id) ?? 'lost'}`);
}

/** Each container was created once, started and ended in turns, and destroyed once or not at all. */
function wrongStories(
  history: readonly Told[],
  known: ReadonlyMap<string, Known>,
  seen: ReadonlyMap<string, Seen>,
): string[] {
  const stories = Map.groupBy(history, ({ actor }) => actor);
  return [...known.values()].flatMap(({ name, id, life, starts }) => {
    if (id === undefined) return [];
    const actions = (stories.get(id) ?? []).map(({ action }) => action);
    const told = actions.filter((action) => ['create', 'start', 'die', 'destroy'].includes(action)).join(' ');
    const isThere = seen.has(name);
    const runs = seen.get(name)?.status.state === 'CONTAINER_STATE_RUNNING';
    const right = isThere ? (runs ? /^create( start die)* start$/ : /^create( start die)*$/) : /^create.* destroy$/;
    const startsTold = actions.filter((action) => action === 'start').length;
    if (right.test(told) && /^create( start die)*( start)?( destroy)?$/.test(told) && startsTold >= starts) return [];
    return [`${name}, ${life}, started ${starts} times: ${told || 'no events'}`];
  });
}

/** For each acknowledged change of images and volumes its one event. */
function wrongAcknowledged(history: readonly Told[], reports: readonly Report[]): string[] {
  const count = (action: string, name: string) =>
    history.filter((one) => one.action === action && (one.name === name || one.actor === name)).length;
  return reports
    .filter((report) => report.kind === 'done')
    .flatMap(({ step }) => {
      const [action, name] =
        step.op === 'volume'
          ? ['create', step.name]
          : step.op === 'import' || step.op === 'tag' || step.op === 'untag'
            ? [step.op, step.reference]
            : [];
      if (action === undefined || name === undefined || count(action, name) === 1) return [];
      return [`${count(action, name)} events ${action} of ${name}`];
    });
}
