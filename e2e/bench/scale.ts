import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { Engine, serviceNames } from '../harness/engine.ts';
import { GrpcClient } from '../harness/grpc-client.ts';
import { FlotillaSubject } from './flotilla.ts';
import { holdings, idleUse, type Processes } from './process-use.ts';
import { RunningContainers } from './running-containers.ts';

// Measures an engine with many containers that do nothing: `npm run bench -- --scale [CONTAINERS]` (500).
const idleSeconds = 20;
/** Until connections that nobody uses are closed and everything that was announced has been sent. */
const settleMs = 75_000;
const restarts = 5;

/** Runs the measurements and prints them; throws when a container is not as it was. */
export async function benchScale(containers: number): Promise<void> {
  await using engine = await Engine.start({ FLOTILLA_LOG: 'warn' });
  using flotilla = new FlotillaSubject(engine);
  const services = (): Processes =>
    Object.fromEntries([...serviceNames, 'keeper' as const].map((name) => [name, [engine.pid(name) ?? 0]]));
  console.log(`bench: idle for ${idleSeconds} s without containers`);
  await using running = new RunningContainers(flotilla, new GrpcClient(`${engine.folders.run}/api.sock`));
  const empty = await idleUse(services(), idleSeconds);
  const without = await restartTimes(engine, running);
  console.log(`bench: starting ${containers} containers`);
  const startedAt = performance.now();
  await running.start(containers);
  const perSecond = containers / ((performance.now() - startedAt) / 1000);
  await running.settle(settleMs);
  const withShims = async () => ({ ...services(), shims: await running.shimPids() });
  console.log(`bench: idle for ${idleSeconds} s with ${containers} containers`);
  const full = await idleUse(await withShims(), idleSeconds);
  const held = holdings(await withShims());
  console.log('bench: SIGKILL to the supervisor');
  const ready = await restartTimes(engine, running);
  const names = [...Object.keys(services()), 'shims'];
  console.table(
    Object.fromEntries(
      [...names, 'all'].map((name) => [
        name,
        {
          'CPU % without': percent(empty, name, names),
          [`CPU % with ${containers}`]: percent(full, name, names),
          'wakes/s without': (empty[name]?.wakeUps ?? 0).toFixed(1),
          [`wakes/s with ${containers}`]: (full[name]?.wakeUps ?? 0).toFixed(1),
          'PSS MiB': (held[name]?.pssMib ?? 0).toFixed(1),
          descriptors: held[name]?.descriptors ?? 0,
        },
      ]),
    ),
  );
  console.log(
    `supervisor ready after SIGKILL, ms (of which in line for a processor): without containers ${show(without)}; with ${containers} ${show(ready)}`,
  );
  console.log(`${containers} containers started, ${perSecond.toFixed(1)}/s; all are as they were`);
}

function percent(use: Awaited<ReturnType<typeof idleUse>>, name: string, names: readonly string[]): string {
  const one = (each: string) => use[each]?.cpuPercent ?? 0;
  return (name === 'all' ? names.reduce((sum, each) => sum + one(each), 0) : one(name)).toFixed(3);
}

interface Restart {
  /** From the signal to the first answer. */
  readonly readyMs: number;
  /** Of that, for which the new process stood in line for a processor: other programs' doing. */
  readonly waitedMs: number;
}

function show(restartsSeen: readonly Restart[]): string {
  return restartsSeen.map(({ readyMs, waitedMs }) => `${readyMs.toFixed(0)} (${waitedMs.toFixed(0)})`).join(', ');
}

/** Kills the supervisor, several times; from the signal to its first answer, after which it must know everything. */
async function restartTimes(engine: Engine, running: RunningContainers): Promise<Restart[]> {
  const seen: Restart[] = [];
  for (let round = 0; round < restarts; round += 1) {
    await running.settle(2_500); // one that ends at once is not started again at once
    const pid = engine.pid('supervisor') ?? 0;
    using supervisor = new GrpcClient(`${engine.folders.run}/supervisor.sock`); // connects when it is used
    const startedAt = performance.now();
    process.kill(pid, 'SIGKILL');
    while (existsSync(`/proc/${pid}`) && performance.now() - startedAt < 100) await running.settle(1);
    await supervisor.call('ContainerService', 'ListContainers', { limit: 1 });
    const readyMs = performance.now() - startedAt;
    // proc(5), schedstat: time on a processor, then time in line for one.
    const waited = readFileSync(`/proc/${engine.pid('supervisor')}/schedstat`, 'utf8').split(' ')[1];
    seen.push({ readyMs, waitedMs: Number(waited) / 1e6 });
    running.check(await supervisor.call('ContainerService', 'ListContainers', {}));
  }
  return seen;
}
