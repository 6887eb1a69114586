import { invalidField } from '@flotilla/errors';
import { ImageConfig } from '@flotilla/proto/flotilla/v1/image';
import { parsePairs } from './environment.ts';
import { parseHealthcheckInstruction } from './healthcheck-instruction.ts';
import { parseExpose } from './ports.ts';

/** Reads `--change` flags: Dockerfile instructions that say what an image's containers inherit. */
export function parseChanges(texts: readonly string[]): ImageConfig {
  const config = ImageConfig.create();
  for (const text of texts) applyChange(config, text.trim());
  return config;
}

function applyChange(config: ImageConfig, text: string): void {
  const [, instruction = '', rest = ''] = /^(\w+)\s*(.*)$/s.exec(text) ?? [];
  if (rest === '') throw badChange(text);
  switch (instruction.toUpperCase()) {
    case 'CMD':
      config.cmd = commandOf(rest);
      return;
    case 'ENTRYPOINT':
      config.entrypoint = commandOf(rest);
      return;
    case 'ENV':
      for (const [key, value] of pairsOf(rest, text)) config.env = [...without(config.env, key), `${key}=${value}`];
      return;
    case 'HEALTHCHECK':
      config.healthcheck = parseHealthcheckInstruction(rest, findList);
      return;
    case 'LABEL':
      for (const [key, value] of pairsOf(rest, text))
        Object.assign(config.labels, parsePairs('LABEL', [`${key}=${value}`]));
      return;
    case 'WORKDIR':
      config.workingDir = rest;
      return;
    case 'USER':
      config.user = rest;
      return;
    case 'EXPOSE':
      config.exposedPorts.push(...rest.split(/\s+/).flatMap((port) => parseExpose('--change EXPOSE', port)));
      return;
    case 'VOLUME':
      config.volumes.push(...(findList(rest) ?? rest.split(/\s+/)));
      return;
    case 'STOPSIGNAL':
      config.stopSignal = rest;
      return;
    default:
      throw badChange(text);
  }
}

/** JSON is a list of arguments; anything else a line for the shell. */
function commandOf(rest: string): string[] {
  return findList(rest) ?? ['/bin/sh', '-c', rest];
}

function findList(rest: string): string[] | undefined {
  if (!rest.startsWith('[')) return undefined;
  try {
    const parsed: unknown = JSON.parse(rest);
    if (Array.isArray(parsed) && parsed.every((one) => typeof one === 'string')) return parsed;
  } catch {
    // As Docker does: what is no JSON is a line for the shell.
  }
  return undefined;
}

/** `A=1 B="two words"`, or the old form `A value with blanks`. */
function pairsOf(rest: string, text: string): [key: string, value: string][] {
  if (!/^[^\s=]+=/.test(rest)) {
    const [, key, value] = /^(\S+)\s+(.*)$/s.exec(rest) ?? [];
    if (key === undefined || value === undefined) throw badChange(text);
    return [[key, value]];
  }
  const pattern = /([^\s=]+)=("(?:[^"\\]|\\.)*"|'[^']*'|(?:[^\s\\]|\\.)*)(?:\s+|$)/gy;
  const pairs: [string, string][] = [];
  let end = 0;
  for (const match of rest.matchAll(pattern)) {
    pairs.push([match[1] ?? '', unquote(match[2] ?? '')]);
    end = match.index + match[0].length;
  }
  if (end !== rest.length) throw badChange(text);
  return pairs;
}

function unquote(value: string): string {
  if (value.startsWith("'")) return value.slice(1, -1);
  const inside = value.startsWith('"') ? value.slice(1, -1) : value;
  return inside.replace(/\\(.)/gs, '$1');
}

function without(env: readonly string[], key: string): string[] {
  return env.filter((one) => !one.startsWith(`${key}=`));
}

function badChange(text: string): Error {
  return invalidField(
    '--change',
    'an instruction of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR with its arguments',
    text,
  );
}
