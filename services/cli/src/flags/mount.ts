import { resolve } from 'node:path';
import { invalidField } from '@flotilla/errors';
import { parse } from 'csv-parse/sync';
import { parsePairs } from './environment.ts';
import { parseBoolean } from './number.ts';
import { parseSize } from './size.ts';
import { type MountFlag, parseTarget } from './volumes.ts';

const types: Readonly<Record<string, 'MOUNT_TYPE_BIND' | 'MOUNT_TYPE_VOLUME' | 'MOUNT_TYPE_TMPFS'>> = {
  bind: 'MOUNT_TYPE_BIND',
  volume: 'MOUNT_TYPE_VOLUME',
  tmpfs: 'MOUNT_TYPE_TMPFS',
};

interface Draft {
  type: string;
  source: string;
  target?: string;
  readOnly?: boolean;
  propagation?: string;
  createSource?: boolean;
  noCopy?: boolean;
  tmpfsSizeBytes?: bigint;
  tmpfsMode?: number;
  nonRecursive?: boolean;
  /** Of `bind-recursive`. */
  recursion?: (typeof recursions)[number];
  volumeDriver?: string;
  volumeOptions?: Record<string, string>;
  volumeLabels?: Record<string, string>;
  volumeSubpath?: string;
}

const recursions = ['enabled', 'disabled', 'writable', 'readonly'] as const;

/** Reads `--mount`: one line of CSV with `key=value` fields, `type=bind,source=/a,target=/b,readonly`. */
export function parseMount(text: string, cwd: string): MountFlag {
  const draft: Draft = { type: 'volume', source: '' };
  for (const field of fieldsOf(text)) {
    const equals = field.indexOf('=');
    const key = (equals === -1 ? field : field.slice(0, equals)).toLowerCase();
    setField(draft, key, equals === -1 ? undefined : field.slice(equals + 1), text);
  }
  return finish(draft, text, cwd);
}

function fieldsOf(text: string): string[] {
  try {
    const rows: string[][] = parse(text, { relax_column_count: true });
    if (rows.length === 1 && rows[0] !== undefined) return rows[0];
  } catch {
    // Answered below: the user wants to know what a mount looks like, not what is wrong with a quote.
  }
  throw invalidField('--mount', 'one line of comma-separated key=value fields', text);
}

function setField(draft: Draft, key: string, value: string | undefined, text: string): void {
  const needed = (): string => {
    if (value === undefined || value === '') throw invalidField(`--mount ${key}`, 'given a value', text);
    return value;
  };
  switch (key) {
    case 'type':
      draft.type = needed().toLowerCase();
      return;
    case 'source':
    case 'src':
      draft.source = needed();
      return;
    case 'target':
    case 'dst':
    case 'destination':
      draft.target = parseTarget('--mount target', needed(), text);
      return;
    case 'readonly':
    case 'ro':
      draft.readOnly = value === undefined || parseBoolean(`--mount ${key}`, value);
      return;
    case 'bind-propagation':
      draft.propagation = needed();
      return;
    case 'bind-nonrecursive':
      draft.nonRecursive = value === undefined || parseBoolean(`--mount ${key}`, value);
      return;
    case 'bind-recursive':
      draft.recursion = recursions.find((known) => known === needed());
      if (draft.recursion === undefined) throw invalidField('--mount bind-recursive', recursions.join(', '), value);
      return;
    case 'volume-driver':
      draft.volumeDriver = needed();
      return;
    case 'volume-opt':
      draft.volumeOptions = { ...draft.volumeOptions, ...parsePairs('--mount volume-opt', [needed()], true) };
      return;
    case 'volume-label':
      draft.volumeLabels = { ...draft.volumeLabels, ...parsePairs('--mount volume-label', [needed()]) };
      return;
    case 'volume-subpath':
      draft.volumeSubpath = needed();
      return;
    case 'bind-create-src':
      draft.createSource = value === undefined || parseBoolean(`--mount ${key}`, value);
      return;
    case 'volume-nocopy':
      draft.noCopy = value === undefined || parseBoolean(`--mount ${key}`, value);
      return;
    case 'tmpfs-size':
      draft.tmpfsSizeBytes = parseSize('--mount tmpfs-size', needed());
      return;
    case 'tmpfs-mode':
      if (!/^0?[0-7]{1,4}$/.test(needed())) throw invalidField('--mount tmpfs-mode', 'an octal number', value);
      draft.tmpfsMode = Number.parseInt(needed(), 8);
      return;
    case 'consistency':
      return;
    default:
      throw invalidField('--mount', 'made of known fields (type, source, target, readonly, bind-propagation, …)', text);
  }
}

function finish(draft: Draft, text: string, cwd: string): MountFlag {
  const type = types[draft.type];
  if (type === undefined) throw invalidField('--mount type', 'bind, volume or tmpfs', draft.type);
  const { target, type: _, recursion, ...plain } = draft;
  const rest = { ...plain, ...recursive(draft, text) };
  if (target === undefined) throw invalidField('--mount', 'given a target', text);
  const foreign = foreignField(draft);
  if (foreign !== undefined) throw invalidField('--mount', `without ${foreign} when its type is ${draft.type}`, text);
  if (type === 'MOUNT_TYPE_BIND') {
    if (rest.source === '') throw invalidField('--mount', 'given a source when its type is bind', text);
    // As the docker client: a path is relative when it begins with a dot.
    const source = rest.source.startsWith('.') ? resolve(cwd, rest.source) : rest.source;
    if (!source.startsWith('/'))
      throw invalidField('--mount source', 'an absolute path, or one that begins with .', text);
    return { ...rest, type, target, source };
  }
  return { ...rest, type, target };
}

/** What `bind-recursive` and `bind-nonrecursive` say. */
function recursive({ recursion, nonRecursive, readOnly, propagation }: Draft, text: string) {
  if (recursion !== undefined && nonRecursive !== undefined) {
    throw invalidField('--mount', 'given bind-recursive or bind-nonrecursive, not both', text);
  }
  if ((recursion === 'writable' || recursion === 'readonly') && readOnly !== true) {
    throw invalidField('--mount', `given readonly with bind-recursive=${recursion}`, text);
  }
  if (recursion === 'readonly' && propagation !== 'rprivate') {
    throw invalidField('--mount', 'given bind-propagation=rprivate with bind-recursive=readonly', text);
  }
  return {
    ...(recursion === 'disabled' || nonRecursive === true ? { nonRecursive: true } : {}),
    ...(recursion === 'writable' ? { readOnlyNonRecursive: true } : {}),
    ...(recursion === 'readonly' ? { readOnlyForceRecursive: true } : {}),
  };
}

/** A field that only another type has, or undefined. */
function foreignField(draft: Draft) {
  const { type, source, propagation, createSource, noCopy, tmpfsMode, tmpfsSizeBytes } = draft;
  const { nonRecursive, recursion, volumeDriver, volumeOptions, volumeLabels, volumeSubpath } = draft;
  const volumeField = [volumeDriver, volumeOptions, volumeLabels, volumeSubpath].findIndex((one) => one !== undefined);
  if (type !== 'bind' && nonRecursive !== undefined) return 'bind-nonrecursive';
  if (type !== 'bind' && recursion !== undefined) return 'bind-recursive';
  if (type !== 'volume' && volumeField !== -1) {
    return ['volume-driver', 'volume-opt', 'volume-label', 'volume-subpath'][volumeField];
  }
  if (type === 'tmpfs' && source !== '') return 'source';
  if (type !== 'bind' && propagation !== undefined) return 'bind-propagation';
  if (type !== 'bind' && createSource !== undefined) return 'bind-create-src';
  if (type !== 'volume' && noCopy !== undefined) return 'volume-nocopy';
  if (type !== 'tmpfs' && tmpfsSizeBytes !== undefined) return 'tmpfs-size';
  if (type !== 'tmpfs' && tmpfsMode !== undefined) return 'tmpfs-mode';
  return undefined;
}
