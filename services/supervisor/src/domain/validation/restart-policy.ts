import { invalidField } from '@flotilla/errors';
import type { RestartPolicy } from '../container-config.ts';
import { checkChoice } from './text.ts';

/** INVALID_FIELD for a policy that is none, or that contradicts a removal at exit. */
export function checkPolicy(policy: RestartPolicy | undefined, autoRemove: boolean): void {
  if (policy === undefined) return;
  checkChoice(policy.name, 'restart_policy.name', ['', 'no', 'always', 'unless-stopped', 'on-failure']);
  if (policy.maximumRetries > 0 && policy.name !== 'on-failure') {
    throw invalidField('restart_policy.maximum_retries', 'given with on-failure only', String(policy.maximumRetries));
  }
  if (autoRemove && policy.name !== '' && policy.name !== 'no') {
    throw invalidField('auto_remove', 'left out with a restart policy', policy.name);
  }
}
