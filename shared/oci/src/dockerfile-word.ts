/** Looks a variable up; undefined when it is not set. */
export type FindVariable = (name: string) => string | undefined;

/** Cuts at blanks that are neither quoted nor escaped, as a Dockerfile's parser does; quotes stay. */
export function splitWords(text: string): string[] {
  return text.match(/(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s\\])+/gs) ?? [];
}

const variable = String.raw`\$\{[^}]*\}?|\$\w+`;
/** In double quotes a backslash escapes only what would mean something there. */
const inDouble = new RegExp(String.raw`\\(?<escaped>["\\$])|(?<variable>${variable})|(?<other>.)`, 'gs');
const inWord = new RegExp(
  String.raw`'(?<single>[^']*)'|"(?<double>(?:\\.|[^"\\])*)"|\\(?<escaped>.)|(?<variable>${variable})|(?<other>.)`,
  'gs',
);

/**
 * Reads a word of a Dockerfile: quotes and backslashes go, `$NAME`, `${NAME}`, `${NAME:-otherwise}` and `${NAME:+instead}` are
 * replaced, except in single quotes. Undefined for a `${` that is wrong or has no end.
 */
export function readWord(text: string, find: FindVariable): string | undefined {
  return readPieces(text, inWord, find);
}

function readPieces(text: string, pattern: RegExp, find: FindVariable): string | undefined {
  const pieces = [...text.matchAll(pattern)].map(({ groups = {} }) => {
    const { single, double, escaped, other } = groups;
    if (double !== undefined) return readPieces(double, inDouble, find);
    return single ?? escaped ?? other ?? readVariable(groups.variable ?? '', find);
  });
  return pieces.includes(undefined) ? undefined : pieces.join('');
}

function readVariable(text: string, find: FindVariable): string | undefined {
  const match = /^\$(?:(?<bare>\w+)|\{(?<name>\w+)(?::(?<kind>[-+])(?<word>.*))?\})$/s.exec(text);
  if (match === null) return undefined;
  const { bare = '', name = bare, kind, word = '' } = match.groups ?? {};
  const value = find(name) ?? '';
  if (kind === undefined) return value;
  const isSet = value !== '';
  if (kind === '-') return isSet ? value : readWord(word, find);
  return isSet ? readWord(word, find) : '';
}
