import { invalidField } from '@flotilla/errors';
import type { Device } from '@flotilla/proto/flotilla/v1/container';

/** Reads `--device`: `/dev/a`, `/dev/a:/dev/b`, `/dev/a:rwm`, `/dev/a:/dev/b:rwm`. */
export function parseDevice(text: string): Device {
  const [hostPath = '', second, third, ...rest] = text.split(':');
  const permissions = third ?? (second !== undefined && isPermissions(second) ? second : '');
  const containerPath = second !== undefined && (third !== undefined || !isPermissions(second)) ? second : '';
  const good =
    hostPath.startsWith('/') &&
    rest.length === 0 &&
    (second === undefined || second !== '') &&
    (containerPath === '' || containerPath.startsWith('/')) &&
    (permissions === '' ? third === undefined : isPermissions(permissions));
  if (!good) throw invalidField('--device', '/host[:/container][:rwm]', text);
  return { hostPath, containerPath, permissions };
}

function isPermissions(text: string): boolean {
  return /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
}
