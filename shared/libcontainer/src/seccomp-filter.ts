import { invalidField } from '@flotilla/errors';
import { compileSeccomp, type SeccompComparison, type SeccompRule } from '@flotilla/linux/seccomp';
import type { LinuxSeccomp, LinuxSeccompArg, LinuxSyscall } from '@flotilla/oci';
import { step, unsupported } from './setup-error.ts';

const ERRNO = 0x00050000;
const TRACE = 0x7ff00000;
const EPERM = 1;

const actions: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: ERRNO,
  SCMP_ACT_TRACE: TRACE,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

const operators: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

/** seccomp(2), SECCOMP_FILTER_FLAG_…; TSYNC has no meaning for a process of one thread. */
const flagBits: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
};

/** A compiled profile. */
export interface CompiledSeccomp {
  readonly program: Uint8Array;
  readonly flags: number;
}

const compiled = new Map<string, CompiledSeccomp>();
const mostRemembered = 16;

/** Compiles a profile of config.json, once for the life of the process. Throws INVALID_FIELD for what it cannot read. */
export function seccompFilter(profile: LinuxSeccomp): CompiledSeccomp {
  const key = JSON.stringify(profile);
  const known = compiled.get(key);
  if (known) return known;
  const filter = {
    defaultAction: actionValue(profile.defaultAction, profile.defaultErrnoRet, 'linux.seccomp.defaultAction'),
    architectures: (profile.architectures ?? []).map(architecture),
    rules: (profile.syscalls ?? []).flatMap(rulesOf),
  };
  const flags = (profile.flags ?? []).reduce((bits, flag) => bits | lookUp(flagBits, flag, 'linux.seccomp.flags'), 0);
  const result = { program: step('compile the seccomp filter', () => compileSeccomp(filter)), flags };
  if (compiled.size >= mostRemembered) compiled.clear();
  compiled.set(key, result);
  return result;
}

/** `SCMP_ARCH_X86_64` is `x86_64` to libseccomp. */
function architecture(name: string): string {
  if (!name.startsWith('SCMP_ARCH_'))
    throw invalidField('linux.seccomp.architectures', 'names as SCMP_ARCH_X86_64', name);
  return name.slice('SCMP_ARCH_'.length).toLowerCase();
}

function actionValue(name: string, errno: number | undefined, field: string): number {
  if (name === 'SCMP_ACT_NOTIFY') throw unsupported(field, 'SCMP_ACT_NOTIFY is not offered');
  const action = lookUp(actions, name, field);
  return action === ERRNO || action === TRACE ? action | ((errno ?? EPERM) & 0xffff) : action;
}

function rulesOf({ names, action, errnoRet, args = [] }: LinuxSyscall): SeccompRule[] {
  const value = actionValue(action, errnoRet, 'linux.seccomp.syscalls.action');
  const comparisons = args.map(comparison);
  // Two comparisons of one argument are alternatives, as runc reads them; libseccomp has one per argument and rule.
  const alternatives =
    new Set(args.map(({ index }) => index)).size < args.length ? comparisons.map((one) => [one]) : [comparisons];
  return names.flatMap((syscall) => alternatives.map((some) => ({ syscall, action: value, comparisons: some })));
}

function comparison({ index, op, value, valueTwo = 0 }: LinuxSeccompArg): SeccompComparison {
  if (!Number.isInteger(index) || index < 0 || index > 5) {
    throw invalidField('linux.seccomp.syscalls.args.index', 'an integer from 0 to 5', String(index));
  }
  return {
    index,
    operator: lookUp(operators, op, 'linux.seccomp.syscalls.args.op'),
    value: BigInt(value),
    second: BigInt(valueTwo),
  };
}

function lookUp(table: Readonly<Record<string, number>>, name: string, field: string): number {
  const value = Object.hasOwn(table, name) ? table[name] : undefined;
  if (value === undefined) throw invalidField(field, `one of ${Object.keys(table).join(', ')}`, name);
  return value;
}
