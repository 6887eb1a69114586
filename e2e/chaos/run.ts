import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { runChaos } from './chaos.ts';
import { type FaultKind, faultKinds, type Victim, victims } from './faults.ts';

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
}

const options = new Command('chaos')
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
  .parse()
  .opts<Options>();

const { seed, minutes, containers, clients, rate } = options;
console.log(`seed ${seed}: ${minutes} minutes, ${containers} containers, ${clients} clients, ${rate} faults a second`);
const report = await runChaos({ ...options, kinds: options.faults, durationMs: minutes * 60_000 });
console.table(Object.fromEntries([...report.faults].sort()));
console.table({
  'containers that passed': report.passed.ids.length,
  'execs, lost with their shim': `${report.passed.execs}, ${report.passed.lostExecs}`,
  'calls, asked again': `${report.calls.calls}, ${report.calls.repeated}`,
  'longest call': `${report.calls.longestMs.toFixed(0)} ms (${report.calls.longest})`,
  events: report.events,
  violations: report.violations.length,
});
for (const text of report.violations) console.log(`violation: ${text}`);
console.log(`seed ${seed}: ${report.violations.length === 0 ? 'every promise kept' : 'failed'}`);
process.exit(report.violations.length === 0 ? 0 : 1);
