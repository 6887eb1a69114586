import { isIP } from 'node:net';
import { invalidField } from '@flotilla/errors';

/** A published port, as flotilla.v1.PortMapping has it. */
export interface PortFlag {
  readonly hostIp: string;
  /** 0 means any free one. */
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
}

const publishHelp = 'a port as in 80, 8080:80, 127.0.0.1:8080:80, 127.0.0.1::80/udp or 8000-8009:80-89';

/** Reads `--publish`: Docker's short form with ranges, and its long form `target=80,published=8080,protocol=udp`. */
export function parsePublish(text: string): PortFlag[] {
  const spec = text.includes('=') ? fromLongForm(text) : text;
  const match = /^(?:(?:\[([^\]]*)\]|([^:[\]]*)):)?(?:([\d-]*):)?([\d-]+)(?:\/(\w+))?$/.exec(withHostPort(spec));
  const container = match?.[4] === undefined ? undefined : findRange(match[4]);
  const addressAlone = match?.[1] !== undefined && match[3] === undefined;
  if (match === null || container === undefined || addressAlone) throw invalidField('--publish', publishHelp, text);
  const hostIp = match[1] ?? match[2] ?? '';
  if (hostIp !== '' && isIP(hostIp) === 0) throw invalidField('--publish', `${publishHelp}, with an IP address`, text);
  const protocol = parseProtocol('--publish', match[5] ?? 'tcp', text);
  const host = match[3] === undefined || match[3] === '' ? undefined : findRange(match[3], 0);
  if (match[3] !== undefined && match[3] !== '' && host === undefined) {
    throw invalidField('--publish', publishHelp, text);
  }
  if (host !== undefined && host.length !== container.length) {
    throw invalidField('--publish', 'as many host ports as container ports', text);
  }
  return container.map((containerPort, index) => ({ hostIp, hostPort: host?.[index] ?? 0, containerPort, protocol }));
}

/** Reads `--expose`: `80`, `53/udp`, `8000-8010/tcp`. Returns `port/protocol`. */
export function parseExpose(field: string, text: string): string[] {
  const [range = '', protocol = 'tcp', ...rest] = text.split('/');
  const ports = findRange(range);
  if (ports === undefined || rest.length > 0) {
    throw invalidField(field, 'a port or a range of ports as in 80, 53/udp or 8000-8010', text);
  }
  return ports.map((port) => `${port}/${parseProtocol(field, protocol, text)}`);
}

/** Gives `8080:80` an empty address, so that one expression reads all forms. */
function withHostPort(spec: string): string {
  const colons = spec.startsWith('[') ? spec.slice(spec.indexOf(']')).split(':').length : spec.split(':').length;
  return colons === 2 && !spec.startsWith('[') ? `:${spec}` : spec;
}

function fromLongForm(text: string): string {
  const fields: Record<string, string> = {};
  for (const part of text.split(',')) {
    const [key = '', value = ''] = part.split('=', 2);
    const name = { target: 'target', dst: 'target', published: 'published', src: 'published', protocol: 'protocol' }[
      key
    ];
    if (name === undefined && key !== 'mode') throw invalidField('--publish', publishHelp, text);
    if (name !== undefined) fields[name] = value;
  }
  if (fields.target === undefined) throw invalidField('--publish', 'given a target', text);
  return `${fields.published ?? ''}:${fields.target}/${fields.protocol ?? 'tcp'}`;
}

function parseProtocol(field: string, protocol: string, text: string): string {
  const name = protocol.toLowerCase();
  if (name !== 'tcp' && name !== 'udp') throw invalidField(field, 'of protocol tcp or udp', text);
  return name;
}

function findRange(text: string, min = 1): number[] | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (first < min || last > 65_535 || last < first) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
