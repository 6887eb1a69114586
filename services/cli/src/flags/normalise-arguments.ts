import type { Command, Option } from 'commander';
import { parseBoolean } from './number.ts';

/**
 * Brings the flags before the first operand into commander's form, where Docker's differs: `--rm=true`, `--tty=false`,
 * `-e=NAME=value`. What follows the first operand of `run` or `exec` belongs to the container's command and stays.
 */
export function normaliseArguments(command: Command, args: readonly string[], stopAtOperand: boolean): string[] {
  const find = (name: string): Option | undefined =>
    command.options.find((option) => option.short === name || option.long === name);
  const result: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? '';
    if (arg === '--' || (stopAtOperand && !isFlag(arg))) return [...result, ...args.slice(index)];
    if (!isFlag(arg)) {
      result.push(arg);
      continue;
    }
    result.push(...(arg.startsWith('--') ? longFlag(arg, find) : shortFlags(arg, find)));
    const value = args[index + 1];
    if (value !== undefined && wantsNext(arg, find)) {
      result.push(value);
      index++;
    }
  }
  return result;
}

type Find = (name: string) => Option | undefined;

function isFlag(arg: string): boolean {
  return arg.startsWith('-') && arg !== '-';
}

function isSwitch(option: Option | undefined): boolean {
  return option !== undefined && !option.required && !option.optional;
}

function longFlag(arg: string, find: Find): string[] {
  const equals = arg.indexOf('=');
  if (equals === -1) return [arg];
  const name = arg.slice(0, equals);
  if (!isSwitch(find(name))) return [arg];
  if (parseBoolean(name, arg.slice(equals + 1))) return [name];
  return negativeOf(name, find);
}

function negativeOf(name: string | null | undefined, find: Find): string[] {
  const negative = `--no-${name?.slice(2)}`;
  return find(negative) === undefined ? [] : [negative];
}

/** `-it`, `-m512m`, `-it=false`: Go's pflag lets a value follow an equals sign. */
function shortFlags(arg: string, find: Find): string[] {
  for (let at = 1; at < arg.length; at++) {
    const option = find(`-${arg[at]}`);
    if (option === undefined) return [arg];
    const rest = arg.slice(at + 1);
    if (!isSwitch(option)) return rest.startsWith('=') ? [arg.slice(0, at + 1) + rest.slice(1)] : [arg];
    if (!rest.startsWith('=')) continue;
    const on = parseBoolean(`-${arg[at]}`, rest.slice(1));
    const kept = arg.slice(0, on ? at + 1 : at);
    const negative = on ? [] : negativeOf(option?.long, find);
    return [...(kept === '-' ? [] : [kept]), ...negative];
  }
  return [arg];
}

function wantsNext(arg: string, find: Find): boolean {
  if (arg.startsWith('--')) return !arg.includes('=') && find(arg)?.required === true;
  for (let at = 1; at < arg.length; at++) {
    const option = find(`-${arg[at]}`);
    if (option === undefined) return false;
    if (!isSwitch(option)) return at === arg.length - 1 && option.required;
  }
  return false;
}
