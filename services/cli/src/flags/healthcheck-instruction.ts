import { invalidField } from '@flotilla/errors';
import type { ImageHealthcheck } from '@flotilla/proto/flotilla/v1/image';
import { type HealthFlags, parseHealthcheck } from './policies.ts';

const options: Readonly<Record<string, keyof HealthFlags>> = {
  interval: 'healthInterval',
  timeout: 'healthTimeout',
  'start-period': 'healthStartPeriod',
  'start-interval': 'healthStartInterval',
  retries: 'healthRetries',
};

/**
 * Reads what follows HEALTHCHECK in a Dockerfile: `NONE`, or `[--interval=30s …] CMD command`; `list` reads a command in its
 * JSON form. INVALID_FIELD.
 */
export function parseHealthcheckInstruction(
  rest: string,
  list: (command: string) => string[] | undefined,
): ImageHealthcheck {
  const flags: Record<string, string> = {};
  let left = rest;
  for (let match = nextOption(left); match !== null; match = nextOption(left)) {
    const [whole, name = '', value = ''] = match;
    const flag = options[name];
    if (flag === undefined) throw invalidInstruction(rest);
    flags[flag] = value;
    left = left.slice(whole.length);
  }
  const [, kind = '', command = ''] = /^(NONE|CMD)\b\s*(.*)$/is.exec(left) ?? [];
  if ((kind.toUpperCase() === 'CMD') !== (command !== '')) throw invalidInstruction(rest);
  const test = kind.toUpperCase() === 'CMD' ? (asArguments(list(command)) ?? ['CMD-SHELL', command]) : ['NONE'];
  const parsed = parseHealthcheck({ ...flags, healthCmd: command });
  if (parsed === undefined || kind === '') throw invalidInstruction(rest);
  return { ...parsed, test };
}

function nextOption(text: string): RegExpExecArray | null {
  return /^--([a-z-]+)=(\S+)\s+/.exec(text);
}

function asArguments(command: string[] | undefined): string[] | undefined {
  return command === undefined ? undefined : ['CMD', ...command];
}

function invalidInstruction(text: string): Error {
  return invalidField('--change HEALTHCHECK', 'NONE, or [--interval=… --timeout=… --retries=… …] CMD command', text);
}
