import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { pullProblem } from '../chaos/pull-images.ts';
import { killImageService } from './kill-image-service.ts';

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number above 0');
  return value;
}

const command = new Command('chaos:images')
  .description('Kills the image service under load and checks that nothing is lost, wrong or left. Needs root.')
  .option('--seed <number>', 'repeats what is done, and when', positive, 1 + (Date.now() % 1_000_000))
  .option('--kills <number>', 'how often', positive, 1_000)
  .option('--clients <number>', 'that work at once', positive, 3)
  .parse();

const { seed, kills, clients } = command.opts<{ seed: number; kills: number; clients: number }>();
const problem = pullProblem();
if (problem !== undefined) throw new Error(`cannot be done here: ${problem}`);
console.log(`seed ${seed}: ${kills} kills`);
const startedAt = Date.now();
const ended = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ended.abort());
const report = await killImageService({
  seed,
  kills,
  clients,
  signal: ended.signal,
  onKill: (number, violations) => {
    if (number % 25 === 0) console.log(`${number} kills, ${violations} violations`);
  },
}).catch((error: unknown) => {
  // What failed first is within what failed while all was taken down.
  for (let at = error; at instanceof SuppressedError; at = at.suppressed)
    console.error(at.error, 'after', at.suppressed);
  throw error;
});
const { violations, answered, ...counts } = report;
console.table({ ...answered, ...counts, seconds: Math.round((Date.now() - startedAt) / 1000) });
for (const text of violations) console.log(`violation: ${text}`);
console.log(`seed ${seed}: ${violations.length === 0 ? 'every promise kept' : 'failed'}`);
process.exit(violations.length === 0 ? 0 : 1);
