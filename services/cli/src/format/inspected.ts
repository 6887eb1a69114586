import { fillTemplate } from './template.ts';

/** Objects as Docker's `inspect` prints them: one JSON array; or a line each by a template. */
export function printInspected(found: readonly unknown[], format: string | undefined): string {
  if (format === undefined || format === '') return `${JSON.stringify(found, undefined, 4)}\n`;
  if (format === 'json') return `${JSON.stringify(found)}\n`;
  return found.map((one) => `${fillTemplate(format, one)}\n`).join('');
}
