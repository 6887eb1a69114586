import { invalidField } from '@flotilla/errors';

/**
 * Reads `--env`: `NAME=value`, or `NAME`, whose value is then the client's own. A name that the client does not have
 * goes as it is: that unsets what the image sets.
 */
export function parseEnv(text: string, env: NodeJS.ProcessEnv): string {
  if (text === '' || text.startsWith('=')) throw invalidField('--env', 'NAME=value or NAME', text);
  if (text.includes('=')) return text;
  const own = env[text];
  return own === undefined ? text : `${text}=${own}`;
}

/** Reads an `--env-file`: a line each, `#` at a line's start comments. A bare name that the client lacks is left out. */
export function parseEnvFile(path: string, content: string, env: NodeJS.ProcessEnv): string[] {
  return linesOf(path, content).flatMap(({ line, where }) => {
    const name = line.split('=', 1)[0] ?? '';
    if (name === '' || /\s/.test(name)) throw invalidField(where, 'NAME=value, without blanks in the name', line);
    if (line.includes('=')) return [line];
    const own = env[name];
    return own === undefined ? [] : [`${name}=${own}`];
  });
}

/** Reads `key=value` or `key` into a map. Later ones win. */
export function parsePairs(field: string, texts: readonly string[], valueNeeded = false): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const text of texts) {
    const equals = text.indexOf('=');
    const key = equals === -1 ? text : text.slice(0, equals);
    if (key === '' || (valueNeeded && equals === -1)) {
      throw invalidField(field, valueNeeded ? 'key=value' : 'key or key=value', text);
    }
    pairs[key] = equals === -1 ? '' : text.slice(equals + 1);
  }
  return pairs;
}

/** Reads a `--label-file`. */
export function parseLabelFile(path: string, content: string): Record<string, string> {
  return parsePairs(
    `--label-file ${path}`,
    linesOf(path, content).map(({ line }) => line),
  );
}

function linesOf(path: string, content: string): { readonly line: string; readonly where: string }[] {
  return content
    .replace(/^\u{feff}/u, '')
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trimStart(), where: `${path}:${index + 1}` }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'));
}
