import process from 'node:process';
import { loadPaths } from '@flotilla/config/paths';
import { Command } from 'commander';
import type { Check } from '../doctor/check.ts';
import { checkEngine } from '../doctor/engine-checks.ts';
import { checkHost } from '../doctor/host-checks.ts';
import { ExitRequest, exitCodes } from '../failure.ts';
import { colour } from '../format/colours.ts';

export function doctorCommand(): Command {
  return new Command('doctor').option('--format <format>', 'json').action(async ({ format }: { format?: string }) => {
    const checks = [...checkHost(loadPaths()), ...(await checkEngine())];
    const healthy = checks.every(({ status }) => status !== 'problem');
    if (format === 'json') process.stdout.write(`${JSON.stringify({ healthy, checks })}\n`);
    else process.stdout.write(checks.map(formatCheck).join(''));
    if (!healthy) throw new ExitRequest(exitCodes.failed);
  });
}

const marks: Readonly<Record<Check['status'], string>> = {
  ok: colour('green', 'ok     '),
  warning: colour('yellow', 'warning'),
  problem: colour('red', 'problem'),
};

function formatCheck({ name, status, found, mend }: Check): string {
  return `${marks[status]}  ${name}: ${found}\n${mend === '' ? '' : `         → ${mend}\n`}`;
}
