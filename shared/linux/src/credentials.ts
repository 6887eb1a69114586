import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cSetresuid = libc.func('int setresuid(unsigned int real, unsigned int effective, unsigned int saved)');
const cSetresgid = libc.func('int setresgid(unsigned int real, unsigned int effective, unsigned int saved)');
const cSetgroups = libc.func('int setgroups(size_t count, void *groups)');
const cCapget = libc.func('int capget(void *header, void *data)');
const cCapset = libc.func('int capset(void *header, void *data)');

const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

/** setresuid(2): real, effective and saved at once, so that there is no way back. */
export function setUserId(uid: number): void {
  check(cSetresuid(uid, uid, uid), 'setresuid', `uid ${uid}`);
}

/** setresgid(2): real, effective and saved. */
export function setGroupId(gid: number): void {
  check(cSetresgid(gid, gid, gid), 'setresgid', `gid ${gid}`);
}

/** setgroups(2): exactly these supplementary groups. */
export function setGroups(gids: readonly number[]): void {
  check(cSetgroups(gids.length, gids.length === 0 ? null : Uint32Array.from(gids)), 'setgroups');
}

/** Three of the five capability sets of a thread, bit n for capability n: capabilities(7). */
export interface CapabilitySets {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
}

/** capget(2) of the calling thread. */
export function getCapabilities(): CapabilitySets {
  const data = new Uint32Array(6);
  check(cCapget(capabilityHeader(), data), 'capget');
  const set = (at: number): bigint => BigInt(data[at]!) | (BigInt(data[at + 3]!) << 32n);
  return { effective: set(0), permitted: set(1), inheritable: set(2) };
}

/** capset(2) of the calling thread. EPERM when something is not permitted. */
export function setCapabilities({ effective, permitted, inheritable }: CapabilitySets): void {
  const data = new Uint32Array(6);
  [effective, permitted, inheritable].forEach((set, at) => {
    data[at] = Number(set & 0xffffffffn);
    data[at + 3] = Number(set >> 32n);
  });
  check(cCapset(capabilityHeader(), data), 'capset');
}

/** Version, and pid 0 for the calling thread. */
const capabilityHeader = (): Uint32Array => Uint32Array.of(LINUX_CAPABILITY_VERSION_3, 0);
