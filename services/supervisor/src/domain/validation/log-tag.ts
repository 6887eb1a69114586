import { invalidField } from '@flotilla/errors';

/** What a tag can say of its container. */
export interface TagFacts {
  readonly containerId: string;
  readonly name: string;
  /** Digest. */
  readonly imageId: string;
  readonly imageName: string;
}

const shortIdLength = 12;
const longestTagBytes = 255;
const longestTemplate = 1000;
const defaultTag = '{{.ID}}';
const fields: Readonly<Record<string, (facts: TagFacts) => string>> = {
  ID: ({ containerId }) => containerId.slice(0, shortIdLength),
  FullID: ({ containerId }) => containerId,
  Name: ({ name }) => name,
  ImageID: ({ imageId }) => imageId.replace(/^sha256:/, '').slice(0, shortIdLength),
  ImageFullID: ({ imageId }) => imageId,
  ImageName: ({ imageName }) => imageName,
  DaemonName: () => 'flotilla',
};
const action = /\{\{(.*?)\}\}/gs;

/** INVALID_FIELD when a template asks for what a tag cannot say. */
export function checkTag(template: string): void {
  const field = 'log.options[tag]';
  if (template.length > longestTemplate) throw invalidField(field, `at most ${longestTemplate} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they would end an entry of a syslog daemon early
  if (/[\u0000-\u001f\u007f]/.test(template)) throw invalidField(field, 'no control characters');
  for (const [text, inside] of template.matchAll(action)) if (!isField(inside!)) throw unknown(text);
  if (/\{\{|\}\}/.test(template.replaceAll(action, ''))) throw unknown(template);
}

/** Docker's log tags: a template of {{.ID}}, {{.Name}} and so on. */
export function formatTag(template: string | undefined, facts: TagFacts): string {
  const tag = (template || defaultTag).replaceAll(action, (_, inside: string) => fields[nameOf(inside)]!(facts));
  return Buffer.from(tag).subarray(0, longestTagBytes).toString();
}

function isField(inside: string): boolean {
  return /^\s*\./.test(inside) && Object.hasOwn(fields, nameOf(inside));
}

function nameOf(inside: string): string {
  return inside.trim().slice(1);
}

function unknown(got: string): Error {
  const known = Object.keys(fields).map((name) => `{{.${name}}}`);
  return invalidField('log.options[tag]', `text with ${known.join(', ')}`, got);
}
