import { invalidField } from '@flotilla/errors';

/** `--network` and the flags around it. */
export interface NetworkFlag {
  readonly networkMode: string;
  readonly networkAliases: readonly string[];
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  readonly macAddress: string;
}

const keys = ['name', 'alias', 'ip', 'ip6', 'mac-address'];

/** Reads `--network`: a mode or name, or Docker's long form `name=NET,alias=A,ip=ADDRESS`. */
export function parseNetwork(texts: readonly string[]): NetworkFlag {
  const [text, ...more] = texts;
  if (more.length > 0) {
    throw invalidField('--network', 'given once: joining several networks is not possible yet', more[0]);
  }
  if (text === '') throw invalidField('--network', 'bridge, host, none, container:NAME or the name of a network', text);
  const empty = { networkMode: text ?? '', networkAliases: [], ipv4Address: '', ipv6Address: '', macAddress: '' };
  if (text === undefined || !/^[\w-]+=/.test(text)) return empty;
  const fields = new Map<string, string[]>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const key = part.slice(0, equals);
    if (equals === -1 || !keys.includes(key)) throw invalidField('--network', `made of ${keys.join(', ')}`, text);
    fields.set(key, [...(fields.get(key) ?? []), part.slice(equals + 1)]);
  }
  const one = (key: string): string => fields.get(key)?.at(-1) ?? '';
  if (one('name') === '') throw invalidField('--network', 'given a name', text);
  return {
    networkMode: one('name'),
    networkAliases: fields.get('alias') ?? [],
    ipv4Address: one('ip'),
    ipv6Address: one('ip6'),
    macAddress: one('mac-address'),
  };
}
