import { invalidField } from '@flotilla/errors';
import { getCapabilities, getRlimit, type Rlimit, type RlimitName, rlimitNumbers } from '@flotilla/linux';
import type { LinuxCapabilities, LinuxSeccomp, Rlimit as OciRlimit, Process } from '@flotilla/oci';
import { allCapabilities, capabilityMask } from '../defaults/capabilities.ts';
import { seccompFilter } from '../seccomp-filter.ts';
import { unsupported } from '../setup-error.ts';
import { cleanPath } from './mount-plan.ts';

/** How a process's standard streams are. */
export type ContainerStdio =
  | { readonly kind: 'descriptors'; readonly stdin: number; readonly stdout: number; readonly stderr: number }
  /** A terminal of the container's own. */
  | { readonly kind: 'terminal'; readonly size?: { readonly columns: number; readonly rows: number } | undefined };

/** What init and execs have in common. Survives v8.serialize. */
export interface ProcessPlan {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly umask: number;
  readonly capabilities: CapabilityMasks;
  readonly rlimits: readonly (readonly [RlimitName, Rlimit])[];
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj: number | undefined;
  readonly seccomp: { readonly program: Uint8Array; readonly flags: number } | undefined;
  readonly stdio: ContainerStdio;
  /** Of its session keyring. */
  readonly keyring: string;
  /** What this host does not allow. */
  readonly warnings: readonly string[];
}

/** The five sets of capabilities(7). */
export interface CapabilityMasks {
  readonly bounding: bigint;
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
}

/** What {@link planProcess} needs besides the process. */
export interface ProcessContext {
  readonly stdio: ContainerStdio;
  readonly seccomp: LinuxSeccomp | undefined;
  readonly keyring: string;
}

const largestId = 2 ** 32 - 2;

/** Checks a `process` object of config.json and turns it into what the child does. */
export function planProcess(process: Process, { stdio, seccomp, keyring }: ProcessContext): ProcessPlan {
  const { args, env = [], cwd, user, capabilities = {}, rlimits = [], oomScoreAdj } = process;
  if (args.length === 0 || args[0] === '') throw invalidField('process.args', 'a command and its arguments');
  refuseNul(args, 'process.args');
  refuseNul(env, 'process.env');
  if (process.apparmorProfile && process.apparmorProfile !== 'unconfined') {
    throw unsupported('process.apparmorProfile', 'AppArmor profiles are not offered');
  }
  if (process.selinuxLabel) throw unsupported('process.selinuxLabel', 'SELinux labels are not offered');
  const warnings: string[] = [];
  const { permitted } = getCapabilities();
  return {
    args,
    env,
    cwd: cleanPath(cwd, 'process.cwd'),
    uid: checkNumber(user.uid, 'process.user.uid', 0, largestId),
    gid: checkNumber(user.gid, 'process.user.gid', 0, largestId),
    groups: (user.additionalGids ?? []).map((gid) => checkNumber(gid, 'process.user.additionalGids', 0, largestId)),
    umask: checkNumber(user.umask ?? 0o022, 'process.user.umask', 0, 0o777),
    capabilities: planCapabilities(capabilities, permitted, warnings),
    rlimits: rlimits.map((limit) => planRlimit(limit, permitted, warnings)),
    noNewPrivileges: process.noNewPrivileges ?? false,
    oomScoreAdj: oomScoreAdj === undefined ? undefined : checkNumber(oomScoreAdj, 'process.oomScoreAdj', -1000, 1000),
    seccomp: seccomp && seccompFilter(seccomp),
    stdio,
    keyring,
    warnings,
  };
}

function refuseNul(texts: readonly string[], field: string): void {
  if (texts.some((text) => text.includes('\0'))) throw invalidField(field, 'texts without NUL');
}

/** An integer in a range, or an invalid field. */
export function checkNumber(value: number, field: string, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw invalidField(field, `an integer from ${least} to ${most}`, String(value));
}

/** Without those that this process does not have itself and so cannot give. */
function planCapabilities(sets: LinuxCapabilities, available: bigint, warnings: string[]): CapabilityMasks {
  const mask = (name: keyof LinuxCapabilities) => capabilityMask(sets[name] ?? [], `process.capabilities.${name}`);
  const missing = mask('bounding') & ~available;
  for (const [number, name] of allCapabilities.entries()) {
    if (missing & (1n << BigInt(number)))
      warnings.push(`${name} is not given: the engine itself does not have it on this host`);
  }
  return {
    bounding: mask('bounding') & available,
    effective: mask('effective') & available,
    permitted: mask('permitted') & available,
    inheritable: mask('inheritable') & available,
    ambient: mask('ambient') & available,
  };
}

const sysResource = 1n << 24n;

/** Without CAP_SYS_RESOURCE a limit cannot be raised: it is set as high as it may be. */
function planRlimit(rlimit: OciRlimit, available: bigint, warnings: string[]): [RlimitName, Rlimit] {
  const { type, soft, hard } = rlimit;
  if (!Object.hasOwn(rlimitNumbers, type)) throw invalidField('process.rlimits.type', 'a limit as RLIMIT_NOFILE', type);
  const name = type as RlimitName;
  const wanted = { soft: limitValue(soft, type), hard: limitValue(hard, type) };
  if (wanted.soft > wanted.hard)
    throw invalidField('process.rlimits.soft', `at most the hard limit of ${type}`, String(soft));
  const most = available & sysResource ? wanted.hard : getRlimit(name).hard;
  if (wanted.hard <= most) return [name, wanted];
  warnings.push(
    `${type} is ${most}, not ${wanted.hard}: raising it takes CAP_SYS_RESOURCE, which the engine does not have`,
  );
  return [name, { soft: wanted.soft < most ? wanted.soft : most, hard: most }];
}

/** -1 and what is beyond 2^64-1 after its way through JSON mean unlimited. */
function limitValue(value: number, type: string): bigint {
  if (value === -1 || value >= 2 ** 64) return 2n ** 64n - 1n;
  if (!Number.isInteger(value) || value < 0)
    throw invalidField(`process.rlimits (${type})`, 'an integer, or -1', String(value));
  return BigInt(value);
}
