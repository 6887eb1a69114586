import { byArchitecture } from './constants.ts';
import { closeFd } from './descriptors.ts';
import { koffi, libc } from './libc.ts';
import { check } from './syscall-error.ts';

// cgroup v2 has no files for devices: a program of type BPF_PROG_TYPE_CGROUP_DEVICE answers each access (bpf(2)).

const cBpf = libc.func('syscall', 'long', ['long', 'int', 'void *', 'uint']);
const SYS_bpf = byArchitecture(321, 280);
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_PROG_QUERY = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
const attributeBytes = 72;
const mostPrograms = 64;

/** `type` a, b or c; without a number any; `access` of the letters r, w, m. */
export interface DeviceRule {
  readonly allow: boolean;
  readonly type: string;
  readonly major: number | undefined;
  readonly minor: number | undefined;
  readonly access: string;
}

/** Puts the rules in force for a cgroup v2 group (open folder), in place of those that were. The last that matches wins. */
export function attachDeviceProgram(cgroupFd: number, rules: readonly DeviceRule[]): void {
  const earlier = attachedPrograms(cgroupFd);
  const programFd = loadProgram(compileDeviceProgram(rules));
  try {
    attach(BPF_PROG_ATTACH, cgroupFd, programFd, BPF_F_ALLOW_MULTI);
  } finally {
    closeFd(programFd);
  }
  // Only now: with several programs attached all must allow, so at no time is more allowed than by old or new.
  for (const id of earlier) detachProgram(cgroupFd, id);
}

function detachProgram(cgroupFd: number, id: number): void {
  const attributes = Buffer.alloc(attributeBytes);
  attributes.writeUInt32LE(id, 0);
  const programFd = bpf(BPF_PROG_GET_FD_BY_ID, attributes, 'BPF_PROG_GET_FD_BY_ID');
  try {
    attach(BPF_PROG_DETACH, cgroupFd, programFd, 0);
  } finally {
    closeFd(programFd);
  }
}

function attachedPrograms(cgroupFd: number): number[] {
  const ids = new Uint32Array(mostPrograms);
  const attributes = Buffer.alloc(attributeBytes);
  attributes.writeUInt32LE(cgroupFd, 0);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 4);
  attributes.writeBigUInt64LE(koffi.address(ids), 16);
  attributes.writeUInt32LE(ids.length, 24);
  bpf(BPF_PROG_QUERY, attributes, 'BPF_PROG_QUERY');
  return [...ids.subarray(0, attributes.readUInt32LE(24))];
}

function loadProgram(program: Buffer): number {
  const license = Buffer.from('Apache-2.0\0');
  const attributes = Buffer.alloc(attributeBytes);
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attributes.writeUInt32LE(program.length / 8, 4);
  attributes.writeBigUInt64LE(koffi.address(program), 8);
  attributes.writeBigUInt64LE(koffi.address(license), 16);
  return bpf(BPF_PROG_LOAD, attributes, 'BPF_PROG_LOAD');
}

function attach(command: number, cgroupFd: number, programFd: number, flags: number): void {
  const attributes = Buffer.alloc(attributeBytes);
  attributes.writeUInt32LE(cgroupFd, 0);
  attributes.writeUInt32LE(programFd, 4);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
  attributes.writeUInt32LE(flags, 12);
  bpf(command, attributes, command === BPF_PROG_ATTACH ? 'BPF_PROG_ATTACH' : 'BPF_PROG_DETACH');
}

function bpf(command: number, attributes: Buffer, what: string): number {
  return check(cBpf(SYS_bpf, command, attributes, attributes.length), 'bpf', what);
}

const typeNumbers: Readonly<Record<string, number>> = { b: 1, c: 2 };
const accessBits: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };
const allAccess = 7;

/** eBPF, 8 bytes an instruction. Nothing matched: refused. Exported for its test. */
export function compileDeviceProgram(rules: readonly DeviceRule[]): Buffer {
  // The last rule that matches everything decides what is left: the verifier takes no instructions behind it.
  const last = rules.findLastIndex(({ type, access }) => type === 'a' && maskOf(access) === allAccess);
  const reachable = rules.slice(last + 1).reverse();
  return Buffer.concat([
    instruction(0x61, 2, 1, 0), // r2 = access_type: type in the low half, access in the high one
    instruction(0xbc, 3, 2), // r3 = r2
    instruction(0x54, 2, 0, 0, 0xffff), // r2 &= 0xffff
    instruction(0x74, 3, 0, 0, 16), // r3 >>= 16
    instruction(0x61, 4, 1, 4), // r4 = major
    instruction(0x61, 5, 1, 8), // r5 = minor
    ...reachable.map(compileRule),
    ...answer(rules[last]?.allow ?? false),
  ]);
}

const maskOf = (access: string): number => [...access].reduce((bits, letter) => bits | accessBits[letter]!, 0);

/** The tests jump over the answer to the next rule. */
function compileRule({ allow, type, major, minor, access }: DeviceRule): Buffer {
  const mask = maskOf(access);
  const tests: ((skip: number) => Buffer)[] = [];
  if (type !== 'a') tests.push((skip) => instruction(0x56, 2, 0, skip, typeNumbers[type])); // if r2 != type
  if (mask !== allAccess) {
    tests.push(
      () => instruction(0xbc, 1, 3),
      () => instruction(0x54, 1, 0, 0, mask),
    ); // r1 = r3 & mask
    // Allowed when all that is asked for is in the mask, refused when any of it is.
    tests.push(allow ? (skip) => instruction(0x5e, 1, 3, skip) : (skip) => instruction(0x16, 1, 0, skip, 0));
  }
  if (type !== 'a' && major !== undefined) tests.push((skip) => instruction(0x56, 4, 0, skip, major));
  if (type !== 'a' && minor !== undefined) tests.push((skip) => instruction(0x56, 5, 0, skip, minor));
  const end = answer(allow);
  return Buffer.concat([...tests.map((test, i) => test(tests.length - 1 - i + end.length)), ...end]);
}

const answer = (allow: boolean): Buffer[] => [instruction(0xb4, 0, 0, 0, allow ? 1 : 0), instruction(0x95)];

function instruction(code: number, to = 0, from = 0, offset = 0, value = 0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = code;
  bytes[1] = to | (from << 4);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(value | 0, 4);
  return bytes;
}
