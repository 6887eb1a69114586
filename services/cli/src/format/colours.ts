import process from 'node:process';
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Colours a text, only for a person: on a terminal, and unless NO_COLOR is set (no-color.org). */
export function colour(style: Style, text: string): string {
  const wanted = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '';
  return wanted ? styleText(style, text, { validateStream: false }) : text;
}
