import { invalidField } from '@flotilla/errors';

const mostEntries = 10_000;
/** MAX_ARG_STRLEN of execve(2), with its terminating zero. */
const longestArgumentBytes = 128 * 1024 - 1;

/** INVALID_FIELD unless the kernel can take a text as it is: no zero byte, not too long. */
export function checkText(text: string, field: string, longest = longestArgumentBytes): void {
  if (text.includes('\0')) throw invalidField(field, 'without zero bytes', text);
  if (Buffer.byteLength(text) > longest) throw invalidField(field, `at most ${longest} bytes long`);
}

/** Checks each entry of a list under the name `field[index]`, and that there are not too many. */
export function checkEach<T>(list: readonly T[], field: string, check: (entry: T, field: string) => void): void {
  if (list.length > mostEntries) throw invalidField(field, `at most ${mostEntries} entries`, String(list.length));
  for (const [index, entry] of list.entries()) check(entry, `${field}[${index}]`);
}

/** INVALID_FIELD unless the value is one of those. */
export function checkChoice(value: string, field: string, choices: readonly string[]): void {
  if (!choices.includes(value)) throw invalidField(field, choices.filter((choice) => choice !== '').join(', '), value);
}
