import { invalidField } from '@flotilla/errors';
import { type FindVariable, readWord, splitWords } from './dockerfile-word.ts';
import { type ChangedHealthcheck, readHealthcheck } from './healthcheck-instruction.ts';

/** What containers inherit from an image: flotilla.v1.ImageConfig. */
export interface ChangedConfig {
  user: string;
  exposedPorts: string[];
  env: string[];
  entrypoint: string[];
  cmd: string[];
  volumes: string[];
  workingDir: string;
  labels: Record<string, string>;
  stopSignal: string;
  healthcheck: ChangedHealthcheck | undefined;
  shell: string[];
  onBuild: string[];
}

const defaultShell = ['/bin/sh', '-c'];

/**
 * Applies Dockerfile instructions to a config, as `import` and `commit` take them: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK,
 * LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Variables are those of the config's environment. As in Docker an
 * ENTRYPOINT takes the command away that no CMD here has set, and an empty one changes nothing. INVALID_FIELD, naming `field`.
 */
export function applyChanges<T extends ChangedConfig>(config: T, texts: readonly string[], field: string): T {
  const changed = structuredClone(config);
  let hasCommand = false;
  for (const text of texts) {
    const [, name = '', rest = ''] = /^\s*(\w+)\s*(.*?)\s*$/s.exec(text) ?? [];
    const instruction = name.toUpperCase();
    if (rest === '') throw badChange(field, text);
    if (instruction === 'ENTRYPOINT') {
      const entrypoint = commandOf(rest, changed.shell);
      if (entrypoint.length === 0) continue;
      changed.entrypoint = entrypoint;
      if (!hasCommand) changed.cmd = [];
    } else applyChange(changed, instruction, rest, { field, text });
    hasCommand ||= instruction === 'CMD';
  }
  return changed;
}

interface Source {
  readonly field: string;
  readonly text: string;
}

function applyChange(config: ChangedConfig, instruction: string, rest: string, source: Source): void {
  const { field, text } = source;
  const read = (word: string) => {
    const value = readWord(word, variablesOf(config));
    if (value === undefined) throw badChange(field, text);
    return value;
  };
  const pairs = () => pairsOf(rest, source).map(([key, value]) => [read(key), read(value)] as const);
  switch (instruction) {
    case 'CMD':
      config.cmd = commandOf(rest, config.shell);
      return;
    case 'ENV':
      for (const [key, value] of pairs()) config.env = withVariable(config.env, key, value);
      return;
    case 'EXPOSE':
      config.exposedPorts = union(
        config.exposedPorts,
        splitWords(rest)
          .map(read)
          .flatMap((port) => portsOf(port, source)),
      );
      return;
    case 'HEALTHCHECK':
      config.healthcheck = readHealthcheck(rest, field, findList);
      return;
    case 'LABEL':
      for (const [key, value] of pairs()) config.labels[key] = value;
      return;
    case 'ONBUILD':
      if (/^(ONBUILD|FROM|MAINTAINER)\b/i.test(rest) || !/^\w+\s+\S/.test(rest)) throw badTrigger(field, text);
      config.onBuild.push(rest);
      return;
    case 'STOPSIGNAL':
      config.stopSignal = read(rest);
      return;
    case 'USER':
      config.user = read(rest);
      return;
    case 'VOLUME':
      config.volumes = union(config.volumes, (findList(rest) ?? splitWords(rest)).map(read));
      if (config.volumes.includes('')) throw badChange(field, text);
      return;
    case 'WORKDIR': {
      const path = read(rest);
      config.workingDir = path.startsWith('/') ? path : `${config.workingDir.replace(/\/+$/, '')}/${path}`;
      return;
    }
    default:
      throw badChange(field, text);
  }
}

function variablesOf({ env }: ChangedConfig): FindVariable {
  return (name) => env.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** One that is there keeps its place. */
function withVariable(env: readonly string[], key: string, value: string): string[] {
  const entry = `${key}=${value}`;
  const there = env.findIndex((one) => one.startsWith(`${key}=`));
  return there === -1 ? [...env, entry] : env.with(there, entry);
}

function union(there: readonly string[], more: readonly string[]): string[] {
  return [...new Set([...there, ...more])];
}

/** JSON is a list of arguments; anything else a line for the shell. */
function commandOf(rest: string, shell: readonly string[]): string[] {
  return findList(rest) ?? [...(shell.length > 0 ? shell : defaultShell), rest];
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
function pairsOf(rest: string, { field, text }: Source): [key: string, value: string][] {
  if (!/^[^\s=]+=/.test(rest)) {
    const [, key, value] = /^([^\s=]+)\s+(.*)$/s.exec(rest) ?? [];
    if (key === undefined || value === undefined) throw badChange(field, text);
    return [[key, value]];
  }
  return splitWords(rest).map((word) => {
    const equals = word.indexOf('=');
    if (equals < 1) throw badChange(field, text);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

/** `80`, `53/udp`, `8000-8010/tcp` as `port/protocol`. */
function portsOf(port: string, { field, text }: Source): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(port);
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (match === null || first < 1 || last > 65_535 || last < first) throw badChange(field, text);
  const protocol = match[3]?.toLowerCase() ?? 'tcp';
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

function badChange(field: string, text: string): Error {
  return invalidField(
    field,
    'an instruction of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR with its arguments',
    text,
  );
}

function badTrigger(field: string, text: string): Error {
  return invalidField(`${field} ONBUILD`, 'an instruction other than ONBUILD, FROM and MAINTAINER', text);
}
