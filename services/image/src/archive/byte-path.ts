/**
 * A name or path of a file as it is on disk: each character is one byte (latin1), since the kernel's names need not be
 * UTF-8. Compares as the bytes do.
 */
export type BytePath = string;

const ascii = /^[\0-\x7f]*$/;
const strict = new TextDecoder('utf-8', { fatal: true });

/** For a system call. */
export function forSyscall(path: BytePath): string | Buffer {
  return ascii.test(path) ? path : Buffer.from(`${path}\0`, 'latin1');
}

/** From text. */
export function toBytePath(text: string): BytePath {
  return ascii.test(text) ? text : Buffer.from(text).toString('latin1');
}

/** As text; undefined when it is no UTF-8. */
export function findText(path: BytePath): string | undefined {
  if (ascii.test(path)) return path;
  try {
    return strict.decode(Buffer.from(path, 'latin1'));
  } catch {
    return undefined;
  }
}

/** As text for people: what is no UTF-8 is replaced. */
export function forPeople(path: BytePath): string {
  return Buffer.from(path, 'latin1').toString();
}

/** Adds a name to the path of its folder; the root's is empty. */
export function join(folder: BytePath, name: BytePath): BytePath {
  return folder === '' ? name : `${folder}/${name}`;
}
