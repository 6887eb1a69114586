import { invalidField } from '@flotilla/errors';

/** Whose namespace a container has. */
export type Mode =
  /** One of its own. */
  | { readonly kind: 'private' }
  | { readonly kind: 'host' }
  /** network_mode alone: one of its own with nothing but loopback. */
  | { readonly kind: 'none' }
  /** That of another container: id, id prefix or name. */
  | { readonly kind: 'container'; readonly container: string }
  /** network_mode alone: one of its own, attached to this network. */
  | { readonly kind: 'network'; readonly network: string };

/** Reads network_mode, ipc_mode, pid_mode, …; empty is the default of each. INVALID_FIELD for a kind that is not allowed. */
export function parseMode(text: string, field: string, kinds: readonly Mode['kind'][]): Mode {
  const networks = kinds.includes('network');
  const mode = readMode(text, networks);
  const alsoContainer = kinds.includes('network') ? [...kinds, 'container'] : kinds;
  if (mode !== undefined && alsoContainer.includes(mode.kind)) return mode;
  const expected = alsoContainer.map((kind) => (kind === 'container' ? 'container:ID' : kind));
  throw invalidField(field, networks ? `bridge, ${expected.join(', ')}` : expected.join(' or '), text);
}

function readMode(text: string, networks: boolean): Mode | undefined {
  if (text === 'host') return { kind: 'host' };
  if (text.startsWith('container:')) {
    const container = text.slice('container:'.length);
    return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(container) ? { kind: 'container', container } : undefined;
  }
  if (networks) {
    if (text === '' || text === 'default') return { kind: 'network', network: 'bridge' };
    if (text === 'none') return { kind: 'none' };
    return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text) ? { kind: 'network', network: text } : undefined;
  }
  return text === '' || text === 'private' ? { kind: 'private' } : undefined;
}

/** network_mode. */
export function networkMode(text: string): Mode {
  return parseMode(text, 'network_mode', ['host', 'none', 'network']);
}

/** ipc_mode. */
export function ipcMode(text: string): Mode {
  return parseMode(text === 'shareable' ? '' : text, 'ipc_mode', ['private', 'host', 'container']);
}

/** pid_mode. */
export function pidMode(text: string): Mode {
  return parseMode(text, 'pid_mode', ['private', 'host', 'container']);
}

/** uts_mode. */
export function utsMode(text: string): Mode {
  return parseMode(text, 'uts_mode', ['private', 'host']);
}

/** cgroupns_mode. */
export function cgroupnsMode(text: string): Mode {
  return parseMode(text, 'cgroupns_mode', ['private', 'host']);
}
