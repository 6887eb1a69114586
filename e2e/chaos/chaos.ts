import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../harness/engine.ts';
import { storedEvents } from '../harness/events.ts';
import type { Registry } from '../harness/registry.ts';
import type { TestFolders } from '../harness/test-folders.ts';
import { waitFor } from '../harness/wait.ts';
import { changeImages, leftImages } from './change-images.ts';
import { changeLasting } from './change-lasting.ts';
import { doFaults } from './do-faults.ts';
import { EventRecord, wrongCopy, wrongEvents } from './event-record.ts';
import { type FaultPlan, isOfDisk, planFaults } from './faults.ts';
import { KeeperWatch } from './keeper-watch.ts';
import { endLasting, type LastingContainer, startLasting } from './lasting-containers.ts';
import { leftInFolders } from './left-in-folders.ts';
import { LoadRecord } from './load-record.ts';
import { passContainers, runExecs } from './passing-containers.ts';
import { CallRecord, PatientClient } from './patient-client.ts';
import { pullImages, pullProblem, startRegistry } from './pull-images.ts';
import { Random } from './random.ts';
import { SmallDisk } from './small-disk.ts';

export interface ChaosPlan extends FaultPlan {
  /** How many run through it all. */
  readonly containers: number;
  /** How many clients make and remove others meanwhile. */
  readonly clients: number;
  /** Where the services' logs are left; absent: nowhere. */
  readonly logs?: string | undefined;
}

export interface ChaosReport {
  readonly faults: ReadonlyMap<string, number>;
  readonly calls: CallRecord;
  readonly load: LoadRecord;
  /** How often `up` was run again, because there was no keeper. */
  readonly ups: number;
  readonly events: number;
  /** Empty when every promise was kept. */
  readonly violations: readonly string[];
}

/** Loads an engine of its own, breaks it as planned, lets it come to rest, and compares it with the load's own record. */
export async function runChaos(plan: ChaosPlan): Promise<ChaosReport> {
  const violations: string[] = [];
  let disk: SmallDisk | undefined;
  const mountDisk = ({ folder, root }: TestFolders) => {
    if (plan.kinds.some(isOfDisk)) disk = SmallDisk.mount(join(folder, 'disk.img'), root);
  };
  const engine = await Engine.start({}, undefined, mountDisk);
  let report: Omit<ChaosReport, 'violations'>;
  try {
    report = await loadAndBreak(engine, disk, plan, violations);
  } finally {
    if (plan.logs !== undefined) cpSync(join(engine.folders.root, 'log'), plan.logs, { recursive: true });
    try {
      await engine[Symbol.asyncDispose]();
    } catch (error) {
      violations.push((error as Error).message);
    }
  }
  return { ...report, violations };
}

async function loadAndBreak(engine: Engine, disk: SmallDisk | undefined, plan: ChaosPlan, violations: string[]) {
  const socket = join(engine.folders.run, 'api.sock');
  const calls = new CallRecord();
  const record = new LoadRecord();
  await using told = new EventRecord(socket);
  using client = new PatientClient(socket, calls);
  const lasting: LastingContainer[] = [];
  const pauseMs = Math.max(20, plan.containers * 3);
  for (let i = 0; i < plan.containers; i += 1) lasting.push(await startLasting(client, i, pauseMs));

  const ended = new AbortController();
  using _load = { [Symbol.dispose]: () => ended.abort() };
  await using registry = pullProblem() === undefined ? await startRegistry() : undefined;
  const load = startLoad(engine, plan, lasting, registry, { calls, record, signal: ended.signal });
  await using keeper = new KeeperWatch(engine);
  const faults = await doFaults({ engine, disk }, planFaults(plan));
  ended.abort();
  await load;
  await keeper.stop();
  await engine.healthy();

  const end = async (container: LastingContainer) => {
    const wrong = await endLasting(client, container).catch((error: Error) => [`${container.id}: ${error.message}`]);
    violations.push(...wrong);
    record.stories.set(container.id, ['create', 'start', ...container.changes, 'die', 'destroy']);
  };
  for (let i = 0; i < lasting.length; i += 10) await Promise.all(lasting.slice(i, i + 10).map(end));
  const events = await settledEvents(engine, [...record.stories.keys()]);
  await waitFor('gRPC tells the last event', () => told.seen.at(-1)?.sequence === events.at(-1)?.sequence).catch(
    () => {}, // the comparison says so
  );
  await told.stop();
  violations.push(
    ...record.wrong,
    ...calls.failures,
    ...wrongEvents(events, record.stories),
    ...wrongCopy(events, told),
  );
  for (const name of await leftImages(client)) violations.push(`image ${name} is left behind`);
  violations.push(...(await leftInFolders(engine)));
  return { faults, calls, load: record, ups: keeper.ups, events: events.length };
}

interface Recording {
  readonly calls: CallRecord;
  readonly record: LoadRecord;
  readonly signal: AbortSignal;
}

/** All clients at once, each with a connection of its own; resolves when all have ended. */
async function startLoad(
  engine: Engine,
  plan: ChaosPlan,
  lasting: readonly LastingContainer[],
  registry: Registry | undefined,
  { calls, record, signal }: Recording,
): Promise<void> {
  const { run, instance } = engine.folders;
  const [first, ...others] = lasting;
  const random = (nth: number) => new Random(plan.seed + nth);
  const work: ((client: PatientClient) => Promise<void>)[] = [(client) => changeImages(client, record, signal)];
  if (registry !== undefined) work.push((client) => pullImages(client, registry, record, signal));
  if (first !== undefined) work.push((client) => runExecs(client, first.id, record, signal));
  // An exec in a container that is frozen is refused.
  if (others.length > 0) {
    work.push((client) => changeLasting(client, others, instance, random(0), record, signal));
  }
  for (let i = 1; i <= plan.clients; i += 1) {
    work.push((client) => passContainers(client, `passing-${i}`, random(i), record, signal));
  }
  await Promise.all(
    work.map(async (one) => {
      using client = new PatientClient(join(run, 'api.sock'), calls);
      await one(client);
    }),
  );
}

/** Every container's last event is told, or half a minute has passed. */
async function settledEvents(engine: Engine, ids: readonly string[]) {
  const missing = async () => {
    const gone = (await storedEvents(engine)).filter(({ action }) => action === 'destroy');
    const known = new Set(gone.map(({ actorId }) => actorId));
    return ids.every((id) => known.has(id));
  };
  await waitFor('every destroy is told', missing, 30_000).catch(() => {}); // then the comparison names those that are missing
  return storedEvents(engine);
}
