import { invalidField } from '@flotilla/errors';

const action = /\{\{(.*?)\}\}/gs;

/**
 * Fills in the part of Go's templates that people use with Docker: `{{.Name}}`, `{{.Config.Image}}`, `{{json .}}`,
 * `{{lower .Name}}`, `{{upper .Name}}`. Escapes `\t` and `\n` are what they mean. Anything else is an error.
 */
export function fillTemplate(template: string, data: unknown): string {
  if (template.replace(action, '').includes('{{')) throw invalidField('--format', 'with an end to each {{', template);
  return template
    .replaceAll('\\t', '\t')
    .replaceAll('\\n', '\n')
    .replace(action, (_, inside: string) => evaluate(inside.trim(), data));
}

function evaluate(expression: string, data: unknown): string {
  const match = /^(?:(json|lower|upper|println)\s+)?(\.[\w.]*)$/.exec(expression);
  if (match?.[2] === undefined) {
    throw invalidField(
      '--format',
      'made of {{.Field}}, {{json .Field}}, {{lower .Field}} or {{upper .Field}}',
      expression,
    );
  }
  const value = lookUp(match[2], data);
  if (match[1] === 'json') return JSON.stringify(value);
  const text = value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (match[1] === 'lower') return text.toLowerCase();
  if (match[1] === 'upper') return text.toUpperCase();
  return text;
}

/** Fields are found whatever their case: our own begin with a small letter, Docker's with a capital. */
function lookUp(path: string, data: unknown): unknown {
  let value = data;
  for (const name of path.split('.').filter((part) => part !== '')) {
    if (typeof value !== 'object' || value === null) throw noField(name, []);
    const key = Object.keys(value).find((one) => one.toLowerCase() === name.toLowerCase());
    if (key === undefined) throw noField(name, Object.keys(value));
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  return value;
}

function noField(name: string, there: readonly string[]): Error {
  return invalidField(
    '--format',
    there.length === 0 ? 'given existing fields' : `given one of ${there.join(', ')}`,
    name,
  );
}
