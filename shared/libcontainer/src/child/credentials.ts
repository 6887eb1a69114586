import {
  clearAmbient,
  dropFromBoundingSet,
  getCapabilities,
  isErrno,
  raiseAmbient,
  setCapabilities,
  setGroupId,
  setGroups,
  setKeepCapabilities,
  setNoNewPrivileges,
  setRlimit,
  setUserId,
  umask,
} from '@flotilla/linux';
import { installSeccomp, type PreparedSeccomp } from '@flotilla/linux/seccomp';
import type { ProcessPlan } from '../plan/process-plan.ts';
import { step } from '../setup-error.ts';

const lastCapability = 63;

/** Limits. Late, because some of them would be in our own way. */
export function setLimits({ rlimits }: ProcessPlan): void {
  step('set resource limits', () => {
    for (const [name, limit] of rlimits) setRlimit(name, limit);
  });
}

/** In a user namespace that was entered from the host: an id of the host's owns nothing there and can make nothing. */
export function becomeNamespaceRoot(): void {
  step('become root of the user namespace', () => {
    setGroups([]);
    setGroupId(0);
    setUserId(0);
  });
}

/**
 * Becomes the user, still with every permitted capability: bounding set, groups, ids. What comes after is `confine`.
 * capabilities(7), "Effect of user ID changes on capabilities".
 */
export function becomeUser({ capabilities, uid, gid, groups, umask: mask }: ProcessPlan): void {
  step('drop capabilities from the bounding set', () => dropOthers(capabilities.bounding));
  step('become the user', () => {
    setKeepCapabilities(true);
    setGroups(groups);
    setGroupId(gid);
    setUserId(uid);
    umask(mask);
  });
  step('set the capabilities', () => {
    const { permitted } = getCapabilities();
    // Inheritable before ambient, which must be within it; effective again, because seccomp(2) and capset(2) need it.
    setCapabilities({ permitted, effective: permitted, inheritable: capabilities.inheritable });
    clearAmbient();
    for (let number = 0; number <= lastCapability; number++) {
      if (capabilities.ambient & (1n << BigInt(number))) raiseAmbient(number);
    }
  });
}

function dropOthers(bounding: bigint): void {
  for (let number = 0; number <= lastCapability; number++) {
    if (bounding & (1n << BigInt(number))) continue;
    try {
      dropFromBoundingSet(number);
    } catch (error) {
      if (isErrno(error, 'EINVAL')) return; // the kernel knows no more
      throw error;
    }
  }
}

/** The last of our own: seccomp, then the capabilities that are left. Nothing but execve(2) may follow. */
export function confine({ capabilities, noNewPrivileges }: ProcessPlan, seccomp: PreparedSeccomp | undefined): void {
  const { effective, permitted, inheritable } = capabilities;
  if (noNewPrivileges) {
    step('set the capabilities', () => setCapabilities({ effective, permitted, inheritable }));
    step('set no_new_privs', setNoNewPrivileges);
    if (seccomp) step('install the seccomp filter', () => installSeccomp(seccomp));
  } else {
    if (seccomp) step('install the seccomp filter', () => installSeccomp(seccomp));
    step('set the capabilities', () => setCapabilities({ effective, permitted, inheritable }));
  }
}
