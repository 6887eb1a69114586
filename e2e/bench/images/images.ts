import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DockerDaemon, withoutNetwork } from '../../harness/docker-daemon.ts';
import { Engine } from '../../harness/engine.ts';
import { Registry } from '../../harness/registry.ts';
import { mustRun } from '../../harness/run-program.ts';
import { timed } from '../statistics.ts';
import { peakMib } from './memory-peak.ts';
import { type Sample, samples } from './samples.ts';

/** Whose images are measured: both have Docker's command line. */
interface Subject {
  readonly name: string;
  readonly run: (...args: string[]) => Promise<string>;
  /** Processes that do the work, besides their children. */
  readonly pids: () => readonly number[];
}

interface Figure {
  readonly ms: number;
  readonly mib: number;
}

const timeoutMs = 600_000;

/**
 * Load, save, push, rmi and pull of sample images, ours and Docker's alternately in each step. Each subject pushes to a registry
 * that has nothing, and both pull what skopeo has put there. The smallest of the rounds counts for time, the largest for memory.
 */
export async function benchImages(rounds: number, names: readonly string[]): Promise<void> {
  const wanted = names.length > 0 ? names : Object.keys(samples);
  const unknown = wanted.find((name) => samples[name] === undefined);
  if (unknown !== undefined || !(rounds >= 1)) {
    console.error(
      `images [ROUNDS] [SAMPLE...], with the samples ${Object.keys(samples).join(', ')}; not ${unknown ?? rounds}`,
    );
    process.exitCode = 2;
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-bench-'));
  try {
    await using engine = await Engine.start({ FLOTILLA_LOG: 'warn' });
    const problem = await DockerDaemon.problem();
    if (problem !== undefined) console.log(`bench: ${problem}: no comparison with Docker`);
    await using docker =
      problem === undefined ? await DockerDaemon.start(join(folder, 'docker'), { flags: withoutNetwork }) : undefined;
    const [program, ...words] = engine.commandWords();
    const subjects: Subject[] = [
      {
        name: 'flotilla',
        run: (...args) => mustRun(program!, [...words, ...args], { env: engine.env, timeoutMs }),
        pids: () => [engine.pid('image')!],
      },
      ...(docker === undefined
        ? []
        : [
            {
              name: 'docker',
              run: (...args: string[]) => docker.docker(args, { timeoutMs }),
              pids: () => [docker.pid!],
            },
          ]),
    ];
    for (const name of wanted) {
      console.log(`bench: images, ${name}`);
      const scratch = join(folder, name);
      mkdirSync(scratch);
      await benchSample(name, await samples[name]!(scratch), { subjects, rounds, scratch });
      rmSync(scratch, { recursive: true });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function benchSample(
  name: string,
  { archive, reference }: Sample,
  {
    subjects,
    rounds,
    scratch,
  }: { readonly subjects: readonly Subject[]; readonly rounds: number; readonly scratch: string },
): Promise<void> {
  const figures = new Map<string, Figure>();
  const step = async (what: string, commandOf: (subject: Subject) => readonly string[]) => {
    for (const subject of subjects) {
      const key = `${what} ${subject.name}`;
      let ms = 0;
      const mib = await peakMib(subject.pids(), async () => {
        ms = await timed(() => subject.run(...commandOf(subject)));
      });
      const before = figures.get(key) ?? { ms: Number.POSITIVE_INFINITY, mib: 0 };
      figures.set(key, { ms: Math.min(before.ms, ms), mib: Math.max(before.mib, mib) });
    }
  };
  await using shared = await Registry.start({ auth: 'nobody' });
  const seed = `${shared.host}/seed:latest`;
  const copy = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false'];
  await mustRun('skopeo', [...copy, `docker-archive:${archive}`, `docker://${seed}`], { timeoutMs });
  for (let round = 0; round < rounds; round += 1) {
    await using empty = await Registry.start({ auth: 'nobody' });
    const output = join(scratch, 'saved.tar');
    const target = ({ name: who }: Subject) => `${empty.host}/${who}:latest`;
    await step('load', () => ['load', '--quiet', '--input', archive]);
    await step('save', () => ['save', '--output', output, reference]);
    for (const subject of subjects) await subject.run('tag', reference, target(subject));
    await step('push', (subject) => ['push', target(subject)]);
    for (const subject of subjects) await subject.run('rmi', target(subject));
    await step('rmi', () => ['rmi', reference]);
    await step('pull', () => ['pull', '--quiet', seed]);
    for (const subject of subjects) await subject.run('rmi', seed);
    rmSync(output, { force: true });
  }
  print(name, figures, subjects);
}

function print(name: string, figures: ReadonlyMap<string, Figure>, subjects: readonly Subject[]): void {
  const rows = ['load', 'save', 'push', 'rmi', 'pull'].map((step) => {
    const [ours, theirs] = subjects.map((subject) => figures.get(`${step} ${subject.name}`));
    return {
      image: name,
      step,
      'ours, s': seconds(ours),
      "docker's, s": seconds(theirs),
      "docker's / ours": ours && theirs ? (theirs.ms / ours.ms).toFixed(2) : '',
      'image service, MiB': ours?.mib.toFixed(0) ?? '',
      'dockerd and containerd, MiB': theirs?.mib.toFixed(0) ?? '',
    };
  });
  console.table(rows);
}

const seconds = (figure: Figure | undefined): string => (figure === undefined ? '' : (figure.ms / 1000).toFixed(2));
