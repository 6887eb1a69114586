/** A way of proving who one is that a server offers (RFC 9110, 11.6.1). */
export interface Challenge {
  /** In lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const longestHeader = 8192;
const scheme = /[\s,]*([\w!#$%&'*+.^`|~-]+)(?:[ \t]+|(?=,)|$)/y;
const parameter = /[\s,]*([\w!#$%&'*+.^`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))[ \t]*(?=,|$)/y;
/** Of schemes that we do not speak, such as Negotiate. */
const token68 = /[\w.~+/-]+=*[ \t]*(?=,|$)/y;

/**
 * Reads `WWW-Authenticate` headers, each of which may hold several challenges. What cannot be read ends the header that it
 * stands in. (The packages for this read one challenge a header.)
 */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  return headers.filter((header) => header.length <= longestHeader).flatMap(parseHeader);
}

function parseHeader(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (let name = take(scheme); name !== null; name = take(scheme)) {
    const parameters: Record<string, string> = {};
    for (let pair = take(parameter); pair !== null; pair = take(parameter)) {
      parameters[pair[1]!.toLowerCase()] = pair[2]?.replace(/\\(.)/g, '$1') ?? pair[3]!;
    }
    if (Object.keys(parameters).length === 0) take(token68);
    challenges.push({ scheme: name[1]!.toLowerCase(), parameters });
  }
  return challenges;
}
