/** Restart policies that the load uses. */
export const policies = ['no', 'always', 'unless-stopped', 'on-failure'] as const;
export type Policy = (typeof policies)[number];

/** What containers of the load write, line by line: a page of a log holds a dozen of them. */
export const logLine: string = 'half a line is no line '.repeat(12).trim();

/** A call of the load, and what it answered. */
export type Step =
  /** `exitCode`: ends by itself with it; absent: writes lines for ever. `id` once it is acknowledged. */
  | { readonly op: 'create'; name: string; policy: Policy; exitCode?: number; id?: string }
  | { readonly op: 'start' | 'stop' | 'wait' | 'remove'; name: string }
  /** `random` is the SHA-256 of the file /random in the image. */
  | { readonly op: 'import'; reference: string; random: string; imageId?: string }
  | { readonly op: 'tag'; reference: string; imageId: string }
  | { readonly op: 'untag'; reference: string }
  | { readonly op: 'volume'; name: string };

/** What the machine reports, a line of the console each. */
export type Report =
  /** A call begins. */
  | { readonly kind: 'ask'; readonly step: Step }
  /** It was acknowledged. */
  | { readonly kind: 'done'; readonly step: Step }
  /** After a boot: what became of a container whose last call was cut off. */
  | { readonly kind: 'found'; readonly name: string; readonly life: Life }
  /** An event was received. */
  | { readonly kind: 'event'; readonly sequence: number; readonly id: string };

/** How far the life of a container has come. */
export type Life = 'asked' | 'created' | 'started' | 'stopped' | 'ended' | 'removed';

/** What is known of a container: what was acknowledged, and what may have happened beyond it. */
export interface Known {
  readonly name: string;
  readonly policy: Policy;
  readonly exitCode: number | undefined;
  readonly id: string | undefined;
  readonly life: Life;
  /** A call that was begun and not acknowledged leads here. */
  readonly maybe: Life | undefined;
  /** Starts that were acknowledged. */
  readonly starts: number;
}

const leadsTo = { create: 'created', start: 'started', stop: 'stopped', wait: 'ended', remove: 'removed' } as const;
const mark = 'REPORT ';

export function format(report: Report): string {
  return mark + JSON.stringify(report);
}

/** Undefined for a line that is no report, or one that the end has cut off. */
export function parse(line: string): Report | undefined {
  if (!line.startsWith(mark)) return undefined;
  try {
    return JSON.parse(line.slice(mark.length)) as Report;
  } catch {
    return undefined;
  }
}

/** The containers of a record by their names. */
export function containersOf(reports: readonly Report[]): ReadonlyMap<string, Known> {
  const known = new Map<string, Known>();
  for (const report of reports) {
    if (report.kind === 'found') {
      known.set(report.name, { ...known.get(report.name)!, life: report.life, maybe: undefined });
      continue;
    }
    if (report.kind === 'event' || !(report.step.op in leadsTo)) continue;
    const step = report.step as Step & { op: keyof typeof leadsTo; name: string };
    const life = leadsTo[step.op];
    const before = step.op === 'create' ? newContainer(step) : known.get(step.name)!;
    const starts = before.starts + (report.kind === 'done' && step.op === 'start' ? 1 : 0);
    known.set(
      step.name,
      report.kind === 'ask' ? { ...before, maybe: life } : { ...before, life, starts, maybe: undefined },
    );
  }
  return known;
}

function newContainer({ name, policy, exitCode, id }: Step & { op: 'create' }): Known {
  return { name, policy, exitCode, id, life: 'asked', maybe: undefined, starts: 0 };
}
