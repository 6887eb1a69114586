import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { Engine } from '../harness/engine.ts';
import { makeBusyboxRoot } from '../images/busybox-root.ts';
import { DockerSubject } from './docker.ts';
import { FlotillaSubject } from './flotilla.ts';
import { benchImages } from './images/images.ts';
import { meanPssMib } from './memory.ts';
import { RuncSubject } from './runc.ts';
import { benchScale } from './scale.ts';
import { interleave, type Summary, summarise } from './statistics.ts';
import { benchUpgrade } from './upgrade/upgrade.ts';

// Measures this engine beside the peers that are installed, alternately in the same run, and says which budgets are met.
// `npm run bench -- ROUNDS` changes how often each is measured (40). `npm run bench -- --scale [CONTAINERS]` measures an
// engine with many containers instead, `npm run bench -- upgrade [ROUNDS] [CLIENTS]` what clients see of an upgrade,
// `npm run bench -- images [ROUNDS] [SAMPLE...]` what images cost.
if (process.argv[2] === '--scale') {
  await benchScale(Number(process.argv[3] ?? 500));
  process.exit(0);
}
if (process.argv[2] === 'upgrade') {
  await benchUpgrade(Number(process.argv[3] ?? 3), Number(process.argv[4] ?? 8));
  process.exit(0);
}
if (process.argv[2] === 'images') {
  await benchImages(Number(process.argv[3] ?? 1), process.argv.slice(4));
  process.exit();
}
const rounds = Number(process.argv[2] ?? 40);
if (!Number.isInteger(rounds) || rounds < 1) {
  console.error(`ROUNDS must be a number from 1, \`--scale\`, \`upgrade\` or \`images\`, not ${process.argv[2]}`);
  process.exit(2);
}
const manyContainers = 30;
const clients = 8;

interface Row {
  readonly figure: string;
  readonly subject: string;
  readonly value: string;
  readonly budget: string;
  readonly met: string;
}
const rows: Row[] = [];

/** A row for each subject; the first is ours, which alone has a budget. */
function addTimes(figure: string, times: Readonly<Record<string, Summary>>, budgetMs: number): void {
  const ours = Object.values(times)[0]?.p50 ?? Number.NaN;
  for (const [i, [subject, { p50, p95 }]] of Object.entries(times).entries()) {
    const ratio = i === 0 ? '' : `, ${(p50 / ours).toFixed(1)} × ours`;
    const value = `p50 ${p50.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms${ratio}`;
    rows.push({
      figure,
      subject,
      value,
      budget: i === 0 ? `${budgetMs} ms` : '',
      met: i === 0 ? yes(p50 <= budgetMs) : '',
    });
  }
}

const yes = (met: boolean): string => (met ? 'met' : 'MISSED');

async function benchRunToExit(flotilla: FlotillaSubject, docker?: DockerSubject, runc?: RuncSubject): Promise<void> {
  const none = {
    'flotilla, gRPC': () => flotilla.runToExit('none'),
    'runc run': runc && (() => runc.runToExit()),
    'docker run --rm': docker && (() => docker.runToExit('none')),
  };
  addTimes('run `true` to its exit, no network', await interleave(none, rounds), 25);
  for (const [name, values] of Object.entries(flotilla.steps)) {
    const { p50, p95 } = summarise(values.splice(0).slice(1));
    rows.push({
      figure: `  of which ${name}`,
      subject: 'flotilla, gRPC',
      value: `p50 ${p50.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms`,
      budget: '',
      met: '',
    });
  }
  const bridge = {
    'flotilla, gRPC': () => flotilla.runToExit('bridge'),
    'docker run --rm': docker && (() => docker.runToExit('bridge')),
  };
  addTimes('run `true` to its exit, bridge', await interleave(bridge, rounds), 40);
}

async function benchExec(flotilla: FlotillaSubject, docker?: DockerSubject): Promise<void> {
  const ours = await flotilla.start('none', ['sleep', '600']);
  const theirs = await docker?.start('none', ['sleep', '600']);
  const subjects = {
    'flotilla, gRPC': () => flotilla.exec(ours),
    'docker exec': docker && theirs !== undefined ? () => docker.exec(theirs) : undefined,
  };
  addTimes('exec of `true`', await interleave(subjects, rounds), 10);
  await flotilla.remove(ours);
  if (docker && theirs !== undefined) await docker.remove([theirs]);
}

async function benchMemory(flotilla: FlotillaSubject, docker?: DockerSubject): Promise<void> {
  const figure = `PSS of a shim, mean of ${manyContainers}`;
  const ours: string[] = [];
  const theirs: string[] = [];
  for (let i = 0; i < manyContainers; i += 1) {
    ours.push(await flotilla.start('none', ['sleep', '600']));
    if (docker) theirs.push(await docker.start('none', ['sleep', '600']));
  }
  const ourPids = await Promise.all(ours.map((id) => flotilla.shimPid(id)));
  const ourMib = meanPssMib(ourPids);
  const theirMib = docker && meanPssMib(docker.shimPids());
  const budgetMib = theirMib ?? 2.75;
  rows.push({
    figure,
    subject: 'flotilla',
    value: `${ourMib.toFixed(2)} MiB`,
    budget: `${budgetMib.toFixed(2)} MiB`,
    met: yes(ourMib <= budgetMib),
  });
  if (theirMib !== undefined) {
    rows.push({ figure, subject: 'containerd-shim-runc-v2', value: `${theirMib.toFixed(2)} MiB`, budget: '', met: '' });
  }
  await Promise.all(ours.map((id) => flotilla.remove(id)));
  if (docker) await docker.remove(theirs);
}

async function benchThroughput(flotilla: FlotillaSubject): Promise<void> {
  const total = Math.max(rounds * 4, clients);
  let left = total;
  const startedAt = performance.now();
  const client = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await flotilla.runToExit('none');
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  const perSecond = total / ((performance.now() - startedAt) / 1000);
  rows.push({
    figure: `containers a second, ${clients} clients`,
    subject: 'flotilla, gRPC',
    value: `${perSecond.toFixed(1)}/s`,
    budget: '40/s',
    met: yes(perSecond >= 40),
  });
}

const folder = mkdtempSync(join(tmpdir(), 'flotilla-bench-'));
try {
  const root = join(folder, 'rootfs');
  await makeBusyboxRoot(root);
  await using engine = await Engine.start({ FLOTILLA_LOG: 'warn' });
  using flotilla = new FlotillaSubject(engine);
  await using docker = await DockerSubject.start(join(folder, 'docker'), root);
  const runc = await RuncSubject.prepare(join(folder, 'runc'), root);
  const step = (name: string) => console.log(`bench: ${name}`);
  step(`running to exit, ${rounds} rounds`);
  await benchRunToExit(flotilla, docker, runc);
  step('exec');
  await benchExec(flotilla, docker);
  step('memory of shims');
  await benchMemory(flotilla, docker);
  step('throughput');
  await benchThroughput(flotilla);
  const info = (await engine.ok('info', '--format', '{{json .}}')).match(/"fork_?[mM]ode":"(\w+)"/)?.[1];
  console.table(Object.fromEntries(rows.map((row, i) => [i + 1, row])));
  console.log(`shims start by: ${info ?? 'unknown'}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
