import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cPrlimit = libc.func('int prlimit(int pid, int resource, void *wanted, void *old)');
const cSetaffinity = libc.func('int sched_setaffinity(int pid, size_t size, void *mask)');
const cGetaffinity = libc.func('int sched_getaffinity(int pid, size_t size, void *mask)');

/** getrlimit(2), resource numbers by OCI name. */
export const rlimitNumbers = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
} as const;

export type RlimitName = keyof typeof rlimitNumbers;

/** No limit. */
export const RLIM_INFINITY = 0xffffffffffffffffn;

/** A soft and a hard limit, {@link RLIM_INFINITY} for none. */
export interface Rlimit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** prlimit(2), reading; pid 0 is the calling process. */
export function getRlimit(resource: RlimitName, pid = 0): Rlimit {
  const old = new BigUint64Array(2);
  check(cPrlimit(pid, rlimitNumbers[resource], null, old), 'prlimit', resource);
  return { soft: old[0]!, hard: old[1]! };
}

/** prlimit(2), writing. EPERM when the hard limit would rise without CAP_SYS_RESOURCE. */
export function setRlimit(resource: RlimitName, { soft, hard }: Rlimit, pid = 0): void {
  check(cPrlimit(pid, rlimitNumbers[resource], BigUint64Array.of(soft, hard), null), 'prlimit', resource);
}

const affinityBytes = 128;

/** sched_getaffinity(2): numbers of the processors that a process may run on; pid 0 is the calling one. */
export function getAffinity(pid = 0): number[] {
  const mask = Buffer.alloc(affinityBytes);
  check(cGetaffinity(pid, mask.length, mask), 'sched_getaffinity');
  return Array.from({ length: affinityBytes * 8 }, (_, cpu) => cpu).filter((cpu) => mask[cpu >> 3]! & (1 << (cpu & 7)));
}

/** sched_setaffinity(2). EINVAL when none of them is there. */
export function setAffinity(cpus: readonly number[], pid = 0): void {
  const mask = Buffer.alloc(affinityBytes);
  for (const cpu of cpus) mask[cpu >> 3]! |= 1 << (cpu & 7);
  check(cSetaffinity(pid, mask.length, mask), 'sched_setaffinity');
}
