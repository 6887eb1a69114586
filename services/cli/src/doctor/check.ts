/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  /** `problem`: the engine cannot do its work; `warning`: a part of it cannot. */
  readonly status: 'ok' | 'warning' | 'problem';
  /** What was found. */
  readonly found: string;
  /** How to mend it, empty when nothing is wrong. */
  readonly mend: string;
}

export function ok(name: string, found: string): Check {
  return { name, status: 'ok', found, mend: '' };
}

export function warning(name: string, found: string, mend: string): Check {
  return { name, status: 'warning', found, mend };
}

export function problem(name: string, found: string, mend: string): Check {
  return { name, status: 'problem', found, mend };
}
