import { archiveNotTar } from './layer-error.ts';

/** A number field: octal text, or binary behind a first byte of 0x80 (GNU tar manual, Basic Tar Format). */
export function readNumber(header: Buffer, offset: number, length: number): number {
  const first = header[offset]!;
  if ((first & 0x80) !== 0) {
    let value = BigInt(first & 0x7f);
    for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(header[offset + i]!);
    if (first === 0xff || value > BigInt(Number.MAX_SAFE_INTEGER))
      throw archiveNotTar(new Error('number out of range'));
    return Number(value);
  }
  const text = header
    .toString('latin1', offset, offset + length)
    .replace(/[\0 ]+$/, '')
    .trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw archiveNotTar(new Error('a number is not octal'));
  return Number.parseInt(text, 8);
}
