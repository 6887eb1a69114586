import { closeSync, fstatSync, readSync } from 'node:fs';
import { byArchitecture } from './constants.ts';
import { createMemoryFile } from './descriptors.ts';
import { koffi, libc } from './libc.ts';
import { check, SyscallError } from './syscall-error.ts';

// libseccomp compiles filters; they are put in force with the system call itself, so that nothing of libseccomp runs in
// the process that drops its rights.

const libseccomp = koffi.load('libseccomp.so.2');
const cInit = libseccomp.func('void *seccomp_init(uint32_t action)');
const cRelease = libseccomp.func('void seccomp_release(void *context)');
const cArchAdd = libseccomp.func('int seccomp_arch_add(void *context, uint32_t arch)');
const cArchResolve = libseccomp.func('uint32_t seccomp_arch_resolve_name(const char *name)');
const cSyscallResolve = libseccomp.func('int seccomp_syscall_resolve_name(const char *name)');
const cAttrSet = libseccomp.func('int seccomp_attr_set(void *context, int attribute, uint32_t value)');
const cRuleAdd = libseccomp.func(
  'int seccomp_rule_add_array(void *context, uint32_t action, int syscall, unsigned int count, void *comparisons)',
);
const cExport = libseccomp.func('int seccomp_export_bpf(void *context, int fd)');
const cSeccomp = libc.func('syscall', 'long', ['long', 'uint', 'uint', 'void *']);

const SYS_seccomp = byArchitecture(317, 277);
const SECCOMP_SET_MODE_FILTER = 1;
const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const binaryTree = 2;
const unknownSyscall = -1;
const comparisonBytes = 24;
const SECCOMP_RET_ERRNO = 0x00050000;
const auditArch = byArchitecture(0xc000003e, 0xc00000b7);
const x32Bit = 0x40000000;
const EEXIST = 17;
const EINVAL = 22;
const EDOM = 33;
const ENOSYS = 38;

/** One comparison with an argument: seccomp_rule_add(3). */
export interface SeccompComparison {
  readonly index: number;
  /** scmp_compare: NE 1, LT 2, LE 3, EQ 4, GE 5, GT 6, MASKED_EQ 7. */
  readonly operator: number;
  /** Value, or the mask of MASKED_EQ. */
  readonly value: bigint;
  readonly second: bigint;
}

/** What happens at a system call. All comparisons must hold. */
export interface SeccompRule {
  readonly syscall: string;
  readonly action: number;
  readonly comparisons: readonly SeccompComparison[];
}

/** A filter to compile. Actions are those of seccomp(2): 0x7fff0000 allows, 0x00050000 | errno fails. */
export interface SeccompFilter {
  readonly defaultAction: number;
  /** Besides the machine's own: `x86`, `x32`, `arm` … */
  readonly architectures: readonly string[];
  readonly rules: readonly SeccompRule[];
}

/** Newer than libseccomp may be. From 403 on numbers are the same on all machines. */
const newerSyscalls: Readonly<Record<string, number>> = {
  cachestat: 451,
  fchmodat2: 452,
  map_shadow_stack: 453,
  futex_wake: 454,
  futex_wait: 455,
  futex_requeue: 456,
  statmount: 457,
  listmount: 458,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
  mseal: 462,
  setxattrat: 463,
  getxattrat: 464,
  listxattrat: 465,
  removexattrat: 466,
  open_tree_attr: 467,
  file_getattr: 468,
  file_setattr: 469,
  ...(process.arch === 'x64' ? { uretprobe: 335, uprobe: 336 } : {}),
};
const newestSyscall = 469;

/**
 * Compiles a filter to classic BPF, 8 bytes an instruction. Rules for system calls unknown here are left out. With a
 * default action that fails with an errno, calls younger than all that is known here fail with ENOSYS, so that a C
 * library which tries them first falls back to older ones.
 */
export function compileSeccomp({ defaultAction, architectures, rules }: SeccompFilter): Buffer {
  const context: unknown = cInit(defaultAction);
  if (!context) throw new SyscallError('seccomp_init', EINVAL);
  try {
    for (const name of architectures) addArchitecture(context, name);
    done(cAttrSet(context, SCMP_FLTATR_CTL_OPTIMIZE, binaryTree), 'seccomp_attr_set');
    const newer: SeccompRule[] = [];
    for (const rule of rules.filter(({ action }) => action !== defaultAction)) {
      const number: number = cSyscallResolve(rule.syscall);
      if (number !== unknownSyscall) addRule(context, number, rule);
      else if (newerSyscalls[rule.syscall] !== undefined) newer.push(rule);
    }
    return Buffer.concat([newerPrologue(newer, defaultAction), exportFilter(context)]);
  } finally {
    cRelease(context);
  }
}

const instruction = (code: number, jumpTrue: number, jumpFalse: number, k: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes[2] = jumpTrue;
  bytes[3] = jumpFalse;
  bytes.writeUInt32LE(k >>> 0, 4);
  return bytes;
};
const load = (offset: number): Buffer => instruction(0x20, 0, 0, offset);
const jumpIfEqual = (k: number, yes: number, no: number): Buffer => instruction(0x15, yes, no, k);
const jumpIfNotLess = (k: number, yes: number, no: number): Buffer => instruction(0x35, yes, no, k);
const giveBack = (action: number): Buffer => instruction(0x06, 0, 0, action);

/** Runs before libseccomp's program, for this machine's own calls; what it does not decide falls through. */
function newerPrologue(rules: readonly SeccompRule[], defaultAction: number): Buffer {
  const decisions = rules.flatMap(({ syscall, action, comparisons }) => {
    if (comparisons.length > 0) throw new SyscallError('seccomp_rule_add', EINVAL, `${syscall} with arguments`);
    return [jumpIfEqual(newerSyscalls[syscall]!, 0, 1), giveBack(action)];
  });
  if ((defaultAction & ~0xffff) === SECCOMP_RET_ERRNO) {
    decisions.push(
      jumpIfNotLess(newestSyscall + 1, 0, 2),
      jumpIfNotLess(x32Bit, 1, 0),
      giveBack(SECCOMP_RET_ERRNO | ENOSYS),
    );
  }
  const first = Math.min(newestSyscall + 1, ...rules.map(({ syscall }) => newerSyscalls[syscall]!));
  return Buffer.concat([
    load(4),
    jumpIfEqual(auditArch, 0, decisions.length + 2),
    load(0),
    jumpIfNotLess(first, 0, decisions.length),
    ...decisions,
  ]);
}

function addArchitecture(context: unknown, name: string): void {
  const arch: number = cArchResolve(name);
  if (arch === 0) throw new SyscallError('seccomp_arch_resolve_name', EINVAL, name);
  const error: number = cArchAdd(context, arch);
  if (error !== -EEXIST) done(error, 'seccomp_arch_add', name);
}

function addRule(context: unknown, syscall: number, { action, comparisons, syscall: name }: SeccompRule): void {
  const array = Buffer.alloc(comparisons.length * comparisonBytes);
  comparisons.forEach(({ index, operator, value, second }, i) => {
    array.writeUInt32LE(index, i * comparisonBytes);
    array.writeUInt32LE(operator, i * comparisonBytes + 4);
    array.writeBigUInt64LE(value, i * comparisonBytes + 8);
    array.writeBigUInt64LE(second, i * comparisonBytes + 16);
  });
  const error: number = cRuleAdd(context, action, syscall, comparisons.length, comparisons.length === 0 ? null : array);
  // EDOM: the call does not exist on one of the architectures. EEXIST: said before.
  if (error !== -EEXIST && error !== -EDOM) done(error, 'seccomp_rule_add', name);
}

/** libseccomp's functions return the error, negative, instead of setting errno. */
function done(error: number, call: string, path?: string): void {
  if (error < 0) throw new SyscallError(call, -error, path);
}

function exportFilter(context: unknown): Buffer {
  const fd = createMemoryFile('seccomp');
  try {
    done(cExport(context, fd), 'seccomp_export_bpf');
    const program = Buffer.allocUnsafeSlow(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

/** A filter made ready: nothing is allocated when it is put in force. */
export interface PreparedSeccomp {
  /** struct sock_fprog, which points to `program`. */
  readonly header: Buffer;
  readonly program: Buffer;
  readonly flags: number;
}

/** `flags` of seccomp(2), SECCOMP_SET_MODE_FILTER. */
export function prepareSeccomp(program: Uint8Array, flags = 0): PreparedSeccomp {
  const copy = Buffer.allocUnsafeSlow(program.byteLength);
  copy.set(program);
  const header = Buffer.alloc(16);
  header.writeUInt16LE(copy.length / 8, 0);
  header.writeBigUInt64LE(koffi.address(copy), 8);
  return { header, program: copy, flags };
}

/** seccomp(2). EACCES without no_new_privs or CAP_SYS_ADMIN. */
export function installSeccomp({ header, flags }: PreparedSeccomp): void {
  check(cSeccomp(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, header), 'seccomp');
}
