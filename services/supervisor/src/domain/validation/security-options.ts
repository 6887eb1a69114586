import { invalidField } from '@flotilla/errors';
import { parseSeccompProfile, type SeccompProfile } from '../spec/seccomp-profile.ts';

export interface SecurityOptions {
  readonly noNewPrivileges: boolean;
  readonly seccomp: 'default' | 'unconfined' | SeccompProfile;
  /** Paths of /proc and /sys are neither masked nor read-only. */
  readonly systemPathsUnconfined: boolean;
}

/** INVALID_FIELD for options that are unknown, or that this host cannot honour. */
export function parseSecurityOptions(options: readonly string[], { selinux }: { selinux: boolean }): SecurityOptions {
  let noNewPrivileges = false;
  let seccomp: SecurityOptions['seccomp'] = 'default';
  let systemPathsUnconfined = false;
  for (const [index, option] of options.entries()) {
    const field = `security_options[${index}]`;
    const [name, value] = splitOption(option);
    if (name === 'no-new-privileges') noNewPrivileges = parseSwitch(value, field);
    else if (name === 'seccomp') seccomp = parseSeccomp(value, field);
    else if (name === 'systempaths' && value === 'unconfined') systemPathsUnconfined = true;
    else if (name === 'apparmor' && value === 'unconfined')
      continue; // No profile is ever applied.
    else if (name === 'label' && (value === 'disable' || !selinux))
      continue; // Nothing carries labels.
    else throw invalidField(field, 'no-new-privileges, seccomp=…, apparmor=unconfined or label=disable', option);
  }
  return { noNewPrivileges, seccomp, systemPathsUnconfined };
}

function splitOption(option: string): [string, string | undefined] {
  const at = option.search(/[=:]/);
  return at === -1 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
}

function parseSwitch(value: string | undefined, field: string): boolean {
  if (value === undefined || value === 'true') return true;
  if (value === 'false') return false;
  throw invalidField(field, 'no-new-privileges, or with =true or =false', value);
}

function parseSeccomp(value: string | undefined, field: string): SecurityOptions['seccomp'] {
  if (value === 'unconfined') return 'unconfined';
  if (value === 'builtin') return 'default';
  if (value?.trimStart().startsWith('{') !== true) {
    throw invalidField(field, 'seccomp=unconfined or seccomp= and the profile itself as JSON', value);
  }
  return parseSeccompProfile(value, field);
}
