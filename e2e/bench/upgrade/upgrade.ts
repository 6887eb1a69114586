import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from '../../harness/engine.ts';
import { waitFor } from '../../harness/wait.ts';
import { makeBusyboxRoot } from '../../images/busybox-root.ts';
import { DockerSubject } from '../docker.ts';
import { DockerOperations } from './docker-operations.ts';
import { FlotillaOperations } from './flotilla-operations.ts';
import type { Operations } from './operations.ts';
import { PatientLoad, patienceMs } from './patient-load.ts';
import { replacedProcesses } from './replaced-processes.ts';

// What clients see of an upgrade: `npm run bench -- upgrade [ROUNDS] [CLIENTS]`. `service upgrade --all` of this engine, and a dockerd
// with live-restore that is restarted, each while clients create, start, exec into and remove containers without pause.
const witnesses = 4;
/** How long the load runs before, for comparison. */
const beforeMs = 5_000;

interface Subject {
  readonly name: string;
  readonly operations: Operations;
  readonly upgrade: () => Promise<void>;
  /** Calls that were to be resumed and were. */
  readonly resumed: () => number;
}

type Row = Readonly<Record<string, string | number>>;

/** Measures both, alternately, and prints what clients saw; throws when this engine failed a call or lost a container. */
export async function benchUpgrade(rounds: number, clients: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-bench-'));
  const rows: Row[] = [];
  const met: Row[] = [];
  let broken = 0;
  try {
    const root = join(folder, 'rootfs');
    await makeBusyboxRoot(root);
    await using engine = await Engine.start();
    await using docker = await DockerSubject.start(join(folder, 'docker'), root, ['--live-restore']);
    using ours = new FlotillaOperations(engine);
    using theirs = docker && new DockerOperations(docker);
    const upgradeAll = async (): Promise<void> => {
      const { code, stderr } = await engine.flotilla(['service', 'upgrade', '--all'], { timeoutMs: 300_000 });
      if (code !== 0) throw new Error(`service upgrade --all ended with ${code}: ${stderr}`);
    };
    const subjects: Subject[] = [
      { name: 'flotilla service upgrade --all', operations: ours, upgrade: upgradeAll, resumed: () => ours.resumed },
    ];
    if (docker !== undefined && theirs !== undefined) {
      const restart = () => docker.restart();
      subjects.push({
        name: 'dockerd --live-restore restarted',
        operations: theirs,
        upgrade: restart,
        resumed: () => 0,
      });
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const subject of subjects) {
        console.log(`bench: ${subject.name}, round ${round}`);
        const { row, load, from } = await measure(subject, clients);
        rows.push(row);
        console.log(row);
        if (subject !== subjects[0]) continue;
        met.push(pausesByProcess(engine, load, from));
        broken += load.failed + load.givenUp + Number(row['containers killed']);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.table(rows);
  console.log('the longest operation that met the replacement of each process, ms (the replacement itself):');
  console.table(met);
  if (broken > 0) throw new Error('this engine failed calls or lost containers');
}

async function measure({ name, operations, upgrade, resumed }: Subject, clients: number) {
  const resumedBefore = resumed();
  const watched = await startWitnesses(operations);
  const load = new PatientLoad(operations);
  const beganAt = Date.now();
  load.start(clients);
  await goesOn(load, clients);
  await waitFor('the load has run for a while', () => Date.now() - beganAt > beforeMs, 60_000);
  const from = Date.now();
  await upgrade();
  const upgradeMs = Date.now() - from;
  await goesOn(load, clients);
  await load.stop();
  const lost = await countLost(operations, watched);
  for (const id of watched.keys()) await operations.remove(id);
  for (const [reason, count] of load.reasons) console.log(`  ${count} × ${reason}`);
  const before = load.longestBefore(from);
  const during = load.longestMeeting(from);
  const row = {
    subject: name,
    calls: load.calls,
    'failed calls': load.failed,
    'streams resumed': resumed() - resumedBefore,
    'longest pause': `${during?.ms.toFixed(0)} ms (${during?.operation})`,
    'longest before': `${before?.ms.toFixed(0)} ms (${before?.operation})`,
    [`given up after ${patienceMs / 1000} s`]: load.givenUp,
    'containers killed': load.killed + lost,
    'of containers': load.rounds + watched.size,
    'it took': `${(upgradeMs / 1000).toFixed(1)} s`,
  };
  return { row, load, from };
}

/** Until every client has got through some rounds. */
async function goesOn(load: PatientLoad, clients: number): Promise<void> {
  const reached = load.rounds + 2 * clients;
  await waitFor('clients go on', () => load.rounds + load.killed + load.givenUp >= reached, 120_000);
}

/** Containers that nobody touches, with their inits. */
async function startWitnesses(operations: Operations): Promise<ReadonlyMap<string, number>> {
  const watched = new Map<string, number>();
  for (let i = 0; i < witnesses; i += 1) {
    const id = await operations.create(`witness-${Date.now()}-${i}`);
    await operations.start(id);
    watched.set(id, await operations.initPid(id));
  }
  return watched;
}

async function countLost(operations: Operations, watched: ReadonlyMap<string, number>): Promise<number> {
  let lost = 0;
  for (const [id, initPid] of watched) if ((await operations.initPid(id)) !== initPid) lost += 1;
  return lost;
}

function pausesByProcess(engine: Engine, load: PatientLoad, from: number): Row {
  return Object.fromEntries(
    replacedProcesses(engine.log('keeper'), from).map(({ name, drainedAt, doneAt }) => {
      const longest = load.longestMeeting(drainedAt, doneAt);
      return [name, `${longest?.ms.toFixed(0) ?? '-'} (${doneAt - drainedAt})`];
    }),
  );
}
