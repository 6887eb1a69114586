import { fillTemplate } from './template.ts';

/** A column of a list: the field's name in JSON and templates, and its head in a table. */
export interface Column {
  readonly field: string;
  readonly title: string;
}

export type Row = Readonly<Record<string, string>>;

export interface TableOptions {
  /** Columns of the plain table. */
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  /** `--format`: `table`, `json`, `table TEMPLATE` or a template. */
  readonly format?: string | undefined;
  /** `--quiet`: this field alone. */
  readonly quiet?: string | undefined;
}

/** Renders a list the way Docker does. Without rows a table still has its heads. */
export function renderList({ columns, rows, format = 'table', quiet }: TableOptions): string {
  if (quiet !== undefined && ['table', 'json'].includes(format)) return lines(rows.map((row) => row[quiet] ?? ''));
  if (format === 'json') return lines(rows.map((row) => JSON.stringify(row)));
  if (format === 'table') {
    return renderTable([
      columns.map(({ title }) => title),
      ...rows.map((row) => columns.map(({ field }) => row[field] ?? '')),
    ]);
  }
  const template = /^table\s+(.*)$/s.exec(format)?.[1];
  if (template === undefined) return lines(rows.map((row) => fillTemplate(format, row)));
  const titles = new Map(columns.map(({ field, title }) => [field.toLowerCase(), title]));
  const head = template
    .replaceAll('\\t', '\t')
    .replace(/\{\{.*?\.(\w*)\s*\}\}/g, (_, field: string) => titles.get(field.toLowerCase()) ?? field.toUpperCase());
  return renderTable([head, ...rows.map((row) => fillTemplate(template, row))].map((line) => line.split('\t')));
}

/** Pads cells as Go's tabwriter does for Docker: three blanks between, columns at least ten wide, none after the last. */
export function renderTable(cells: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of cells) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, [...cell].length + 3, 10);
  }
  return lines(
    cells.map((row) =>
      row
        .map((cell, index) =>
          index === row.length - 1 ? cell : cell + ' '.repeat((widths[index] ?? 0) - [...cell].length),
        )
        .join('')
        .trimEnd(),
    ),
  );
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}
