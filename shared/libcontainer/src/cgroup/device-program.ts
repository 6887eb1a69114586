import { closeSync, openSync } from 'node:fs';
import { invalidField } from '@flotilla/errors';
import { attachDeviceProgram, type DeviceRule } from '@flotilla/linux';
import type { LinuxDeviceCgroup } from '@flotilla/oci';
import { writeFileOnce } from './group-files.ts';

/** Applies device rules in their order, the last that matches wins: v1 by the files devices.allow and devices.deny, v2 by a program. */
export function limitDevices(folder: string, version: 1 | 2, rules: readonly LinuxDeviceCgroup[]): void {
  const parsed = rules.map(parseRule);
  if (version === 1) {
    for (const rule of parsed) writeFileOnce(`${folder}/devices.${rule.allow ? 'allow' : 'deny'}`, formatRule(rule));
    return;
  }
  const fd = openSync(folder, 'r');
  try {
    attachDeviceProgram(fd, parsed);
  } finally {
    closeSync(fd);
  }
}

function parseRule({ allow, type = 'a', major, minor, access = 'rwm' }: LinuxDeviceCgroup, i: number): DeviceRule {
  const field = `linux.resources.devices[${i}]`;
  if (!['a', 'b', 'c'].includes(type)) throw invalidField(`${field}.type`, 'a, b or c', type);
  if (!/^[rwm]{1,3}$/.test(access)) throw invalidField(`${field}.access`, 'of the letters r, w and m', access);
  const number = (value: number | undefined): number | undefined =>
    value === undefined || value === -1 ? undefined : value;
  return { allow, type, major: number(major), minor: number(minor), access };
}

/** kernel: Documentation/admin-guide/cgroup-v1/devices.rst. */
function formatRule({ type, major, minor, access }: DeviceRule): string {
  return type === 'a' ? 'a' : `${type} ${major ?? '*'}:${minor ?? '*'} ${access}`;
}
