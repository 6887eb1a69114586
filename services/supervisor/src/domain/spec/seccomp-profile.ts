import { invalidField } from '@flotilla/errors';
import type { LinuxSeccomp, LinuxSyscall } from '@flotilla/oci';

// Docker's form of seccomp profiles: the runtime's form, with rules that hold for some capabilities, machines or kernels.

interface Condition {
  readonly caps: readonly string[];
  readonly arches: readonly string[];
  readonly minKernel: string | undefined;
}

interface ProfileRule {
  readonly syscall: LinuxSyscall;
  readonly includes: Condition;
  readonly excludes: Condition;
}

/** A checked profile. */
export interface SeccompProfile {
  readonly base: Omit<LinuxSeccomp, 'syscalls' | 'architectures'>;
  readonly architectures: readonly string[];
  /** From a machine's architecture to those it also runs. */
  readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
  readonly rules: readonly ProfileRule[];
}

export interface ProfileTarget {
  /** With `CAP_`. */
  readonly capabilities: readonly string[];
  /** `x64`, `arm64`. */
  readonly arch: string;
  readonly kernelRelease: string;
}

const machines: Readonly<Record<string, { readonly go: string; readonly scmp: string }>> = {
  x64: { go: 'amd64', scmp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', scmp: 'SCMP_ARCH_AARCH64' },
};
const actionPattern = /^SCMP_ACT_(ALLOW|ERRNO|KILL|KILL_PROCESS|KILL_THREAD|LOG|TRACE|TRAP)$/;
const operatorPattern = /^SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/;
const mostRules = 2000;

/** Reads a profile. INVALID_FIELD naming the part that is wrong. */
export function parseSeccompProfile(json: string, field: string): SeccompProfile {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw invalidField(field, 'a seccomp profile in JSON');
  }
  const reader = new Reader(field);
  const profile = reader.object(value, 'profile');
  const rules = reader.list(profile.syscalls ?? [], 'syscalls');
  if (rules.length > mostRules) throw invalidField(`${field} syscalls`, `at most ${mostRules} rules`);
  return {
    base: {
      defaultAction: reader.matching(profile.defaultAction, 'defaultAction', actionPattern),
      ...reader.optionalNumber(profile.defaultErrnoRet, 'defaultErrnoRet'),
      ...(profile.flags === undefined ? {} : { flags: reader.strings(profile.flags, 'flags') }),
    },
    architectures: reader.strings(profile.architectures ?? [], 'architectures'),
    archMap: reader.list(profile.archMap ?? [], 'archMap').map((entry) => {
      const { architecture, subArchitectures } = reader.object(entry, 'archMap');
      return {
        architecture: reader.string(architecture, 'archMap.architecture'),
        subArchitectures: reader.strings(subArchitectures ?? [], 'archMap.subArchitectures'),
      };
    }),
    rules: rules.map((rule, index) => reader.rule(rule, `syscalls[${index}]`)),
  };
}

/** The rules of a profile that hold for a container, in the runtime's form. */
export function resolveSeccompProfile(profile: SeccompProfile, target: ProfileTarget): LinuxSeccomp {
  const machine = machines[target.arch];
  const mapped = profile.archMap.find(({ architecture }) => architecture === machine?.scmp);
  const architectures =
    mapped === undefined ? profile.architectures : [mapped.architecture, ...mapped.subArchitectures];
  const syscalls = profile.rules
    .filter(({ includes, excludes }) => holds(includes, target) && !excluded(excludes, target))
    .map(({ syscall }) => syscall);
  return { ...profile.base, ...(architectures.length > 0 ? { architectures } : {}), syscalls };
}

/** All that is named must hold. */
function holds({ caps, arches, minKernel }: Condition, target: ProfileTarget): boolean {
  return (
    caps.every((cap) => target.capabilities.includes(cap)) &&
    (arches.length === 0 || arches.includes(machines[target.arch]?.go ?? '')) &&
    (minKernel === undefined || kernelAtLeast(target.kernelRelease, minKernel))
  );
}

/** Any that is named is enough. */
function excluded({ caps, arches, minKernel }: Condition, target: ProfileTarget): boolean {
  return (
    caps.some((cap) => target.capabilities.includes(cap)) ||
    arches.includes(machines[target.arch]?.go ?? '') ||
    (minKernel !== undefined && kernelAtLeast(target.kernelRelease, minKernel))
  );
}

function kernelAtLeast(release: string, least: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [leastMajor = 0, leastMinor = 0] = least.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

class Reader {
  readonly #field: string;

  constructor(field: string) {
    this.#field = field;
  }

  object(value: unknown, name: string): Record<string, unknown> {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw this.#refuse(name, 'an object');
  }

  list(value: unknown, name: string): unknown[] {
    if (value === null) return [];
    if (Array.isArray(value)) return value;
    throw this.#refuse(name, 'a list');
  }

  string(value: unknown, name: string): string {
    if (typeof value === 'string' && value.length < 256) return value;
    throw this.#refuse(name, 'a text');
  }

  strings(value: unknown, name: string): string[] {
    return this.list(value, name).map((entry) => this.string(entry, name));
  }

  matching(value: unknown, name: string, pattern: RegExp): string {
    const text = this.string(value, name);
    if (pattern.test(text)) return text;
    throw this.#refuse(name, `of the form ${pattern.source}`);
  }

  number(value: unknown, name: string): number {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#refuse(name, 'a whole number');
  }

  optionalNumber(value: unknown, name: string): Record<string, number> {
    return value === undefined || value === null ? {} : { [name]: this.number(value, name) };
  }

  rule(value: unknown, name: string): ProfileRule {
    const rule = this.object(value, name);
    const names = rule.names === undefined ? [this.string(rule.name, `${name}.name`)] : rule.names;
    const args = this.list(rule.args ?? [], `${name}.args`).map((arg) => {
      const { index, value: wanted, valueTwo, op } = this.object(arg, `${name}.args`);
      return {
        index: this.number(index, `${name}.args.index`),
        value: this.number(wanted, `${name}.args.value`),
        valueTwo: this.number(valueTwo ?? 0, `${name}.args.valueTwo`),
        op: this.matching(op, `${name}.args.op`, operatorPattern),
      };
    });
    return {
      syscall: {
        names: this.strings(names, `${name}.names`),
        action: this.matching(rule.action, `${name}.action`, actionPattern),
        ...this.optionalNumber(rule.errnoRet, 'errnoRet'),
        ...(args.length > 0 ? { args } : {}),
      },
      includes: this.#condition(rule.includes, `${name}.includes`),
      excludes: this.#condition(rule.excludes, `${name}.excludes`),
    };
  }

  #condition(value: unknown, name: string): Condition {
    const { caps, arches, minKernel } = value === undefined || value === null ? {} : this.object(value, name);
    return {
      caps: this.strings(caps ?? [], `${name}.caps`),
      arches: this.strings(arches ?? [], `${name}.arches`),
      minKernel: minKernel === undefined ? undefined : this.matching(minKernel, `${name}.minKernel`, /^\d+\.\d+$/),
    };
  }

  #refuse(name: string, expected: string) {
    return invalidField(`${this.#field} ${name}`, expected);
  }
}
