/** An entry of a tar, well-formed or not: nothing here is checked. */
export interface TarEntry {
  readonly name: string;
  readonly content?: Buffer | string;
  /** `file` when absent. */
  readonly type?: 'file' | 'hardlink' | 'symlink' | 'folder';
  readonly target?: string;
  /** Mode bits; 0644 when absent. */
  readonly mode?: number;
}

const typeFlags = { file: '0', hardlink: '1', symlink: '2', folder: '5' } as const;
const blockBytes = 512;

/** Writes a ustar archive (POSIX pax(1), ustar interchange format), byte by byte, so that it can be as bad as a test needs. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? '');
    const padding = Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes);
    return [header(entry, content.length), content, padding];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]);
}

function header({ name, type = 'file', target = '', mode = 0o644 }: TarEntry, sizeBytes: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, at: number, digits: number) => block.write(value.toString(8).padStart(digits, '0'), at);
  block.write(name, 0, 100);
  octal(mode, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(sizeBytes, 124, 11);
  octal(0, 136, 11);
  block.write('        ', 148);
  block.write(typeFlags[type], 156);
  block.write(target, 157, 100);
  block.write('ustar\x0000', 257);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  block.write('\0 ', 154);
  return block;
}
