import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { runChaos } from './chaos.ts';
import { type FaultKind, faultKinds, isOfDisk, type Victim, victims } from './faults.ts';
import { pullProblem } from './pull-images.ts';
import { SmallDisk } from './small-disk.ts';

// `npm run chaos -- --seed S --minutes M`: loads an engine of its own, kills its processes, checks what must hold.
function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 was expected');
  return value;
}

function some<T extends string>(known: readonly T[]): (text: string) => readonly T[] {
  return (text) =>
    text.split(',').map((word) => {
      const found = known.find((one) => one === word);
      if (found === undefined) throw new InvalidArgumentError(`${word} is none of ${known.join(', ')}`);
      return found;
    });
}

interface Options {
  readonly seed: number;
  readonly minutes: number;
  readonly containers: number;
  readonly clients: number;
  readonly rate: number;
  readonly faults: readonly FaultKind[];
  readonly victims: readonly Victim[];
  readonly logs?: string;
}

const notDone = `Not done:
  networks of the user's own, which are not implemented yet, and pushes, which the load does not make;
  steps of the clock, which is the whole host's: they need a virtual machine.`;

/** Faults of a disk that this host cannot make are left out, saying so; those that were asked for by name are refused. */
function possibleKinds(wanted: readonly FaultKind[], named: boolean): readonly FaultKind[] {
  return wanted.filter((kind) => {
    const problem = isOfDisk(kind) ? SmallDisk.problem(kind) : undefined;
    if (problem === undefined) return true;
    if (named) throw new Error(`--faults ${kind}: ${problem}`);
    console.log(`not done here: ${kind}: ${problem}`);
    return false;
  });
}

const command = new Command('chaos')
  .description(
    'Breaks an engine of its own under load, and checks that nothing was lost. The seed decides what happens when.',
  )
  .option('--seed <number>', 'repeats a run', positive, 1 + (Date.now() % 1_000_000))
  .option('--minutes <number>', 'for how long', positive, 1)
  .option('--containers <number>', 'that run through it all', positive, 20)
  .option('--clients <number>', 'that make others meanwhile', positive, 4)
  .option('--rate <number>', 'faults per second', positive, 1)
  .option('--faults <list>', faultKinds.join(','), some(faultKinds), faultKinds)
  .option('--victims <list>', victims.join(','), some(victims), victims)
  .option('--logs <folder>', 'where the logs of the services are left')
  .addHelpText('after', `\n${notDone}`)
  .parse();

const options = command.opts<Options>();
const { seed, minutes, containers, clients, rate } = options;
console.log(`seed ${seed}: ${minutes} minutes, ${containers} containers, ${clients} clients, ${rate} faults a second`);
console.log(notDone);
const noPulls = pullProblem();
if (noPulls !== undefined) console.log(`not done here: pulls: ${noPulls}`);
const kinds = possibleKinds(options.faults, command.getOptionValueSource('faults') === 'cli');
const report = await runChaos({ ...options, kinds, durationMs: minutes * 60_000 });
console.table(Object.fromEntries([...report.faults].sort()));
console.table({
  ...Object.fromEntries([...report.load.counts].sort()),
  'calls, asked again, refused by a full disk': `${report.calls.calls}, ${report.calls.repeated}, ${report.calls.refused}`,
  'longest call': `${report.calls.longestMs.toFixed(0)} ms (${report.calls.longest})`,
  '`up` run again': report.ups,
  events: report.events,
  violations: report.violations.length,
});
for (const text of report.violations) console.log(`violation: ${text}`);
console.log(`seed ${seed}: ${report.violations.length === 0 ? 'every promise kept' : 'failed'}`);
process.exit(report.violations.length === 0 ? 0 : 1);
