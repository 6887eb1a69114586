import { join } from 'node:path';
import { Engine } from '../harness/engine.ts';
import { storedEvents } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';
import { EventRecord, wrongCopy, wrongEvents } from './event-record.ts';
import { doFaults, type FaultPlan, planFaults } from './faults.ts';
import { endLasting, initPidOf, type LastingContainer, startLasting } from './lasting-containers.ts';
import { type Passed, passContainers, runExecs } from './passing-containers.ts';
import { CallRecord, PatientClient } from './patient-client.ts';
import { Random } from './random.ts';

export interface ChaosPlan extends FaultPlan {
  /** How many run through it all. */
  readonly containers: number;
  /** How many clients make and remove others meanwhile. */
  readonly clients: number;
}

export interface ChaosReport {
  readonly faults: ReadonlyMap<string, number>;
  readonly calls: CallRecord;
  readonly passed: Passed;
  readonly events: number;
  /** Empty when every promise was kept. */
  readonly violations: readonly string[];
}

/** Loads an engine of its own, breaks it as planned, lets it come to rest, and compares it with the load's own record. */
export async function runChaos(plan: ChaosPlan): Promise<ChaosReport> {
  const violations: string[] = [];
  const engine = await Engine.start();
  let report: Omit<ChaosReport, 'violations'>;
  try {
    report = await loadAndBreak(engine, plan, violations);
  } finally {
    try {
      await engine[Symbol.asyncDispose]();
    } catch (error) {
      violations.push((error as Error).message);
    }
  }
  return { ...report, violations };
}

async function loadAndBreak(engine: Engine, plan: ChaosPlan, violations: string[]) {
  const socket = join(engine.folders.run, 'api.sock');
  const calls = new CallRecord();
  const passed: Passed = { ids: [], wrong: [], execs: 0, lostExecs: 0 };
  const told = new EventRecord(socket);
  const clients = Array.from({ length: plan.clients }, () => new PatientClient(socket, calls));
  using client = new PatientClient(socket, calls);
  const lasting: LastingContainer[] = [];
  const pauseMs = Math.max(20, plan.containers * 3);
  for (let i = 0; i < plan.containers; i += 1) lasting.push(await startLasting(client, i, pauseMs));

  const ended = new AbortController();
  const load = clients.map((one, i) =>
    i === 0 && lasting[0] !== undefined
      ? runExecs(one, lasting[0].id, passed, ended.signal)
      : passContainers(one, `passing-${i}`, new Random(plan.seed + i), passed, ended.signal),
  );
  const faults = await doFaults(engine, planFaults(plan));
  ended.abort();
  await Promise.all(load);
  await engine.healthy();
  for (const one of clients) one[Symbol.dispose]();

  for (const container of lasting) {
    await waitFor(`an answer about ${container.id}`, () => initPidOf(client, container.id).then((pid) => pid >= 0));
    const wrong = await endLasting(client, container).catch((error: Error) => [`${container.id}: ${error.message}`]);
    violations.push(...wrong);
  }
  const ids = [...lasting.map(({ id }) => id), ...passed.ids];
  const events = await settledEvents(engine, ids);
  await waitFor('gRPC tells the last event', () => told.seen.at(-1)?.sequence === events.at(-1)?.sequence).catch(
    () => {},
  );
  await told.stop();
  violations.push(...passed.wrong, ...calls.failures, ...wrongEvents(events, ids), ...wrongCopy(events, told));
  return { faults, calls, passed, events: events.length };
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
