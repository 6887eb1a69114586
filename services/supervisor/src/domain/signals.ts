import { invalidField } from '@flotilla/errors';

/** signal(7), numbers of x86 and ARM. */
const numbers: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  IOT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  POLL: 29,
  PWR: 30,
  SYS: 31,
};
const realtimeMin = 34;
const realtimeMax = 64;

/** Number of `SIGTERM`, `term`, `RTMIN+3` or `15`. INVALID_FIELD otherwise. */
export function parseSignal(text: string, field: string): number {
  if (/^\d{1,3}$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= realtimeMax) return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const known = numbers[name];
  if (known !== undefined) return known;
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realtime !== null) {
    const offset = Number(realtime[3] ?? 0) * (realtime[2] === '-' ? -1 : 1);
    const number = (realtime[1] === 'MIN' ? realtimeMin : realtimeMax) + offset;
    if (number >= realtimeMin && number <= realtimeMax) return number;
  }
  throw invalidField(field, `a signal such as SIGTERM, TERM or 15`, text);
}
