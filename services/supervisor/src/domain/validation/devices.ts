import { invalidField } from '@flotilla/errors';
import type { DeviceConfig } from '../container-config.ts';
import { checkEach, checkText } from './text.ts';

/** INVALID_FIELD for devices that cannot be named so. Whether they are there, the host says. */
export function checkDevices(devices: readonly DeviceConfig[]): void {
  checkEach(devices, 'devices', ({ hostPath, containerPath, permissions }, field) => {
    checkText(hostPath, `${field}.host_path`, 4095);
    checkText(containerPath, `${field}.container_path`, 4095);
    if (!hostPath.startsWith('/')) throw invalidField(`${field}.host_path`, 'an absolute path', hostPath);
    if (containerPath !== '' && !containerPath.startsWith('/')) {
      throw invalidField(`${field}.container_path`, 'an absolute path', containerPath);
    }
    if (!/^(?!.*(.).*\1)[rwm]{0,3}$/.test(permissions)) {
      throw invalidField(`${field}.permissions`, 'made of r, w and m', permissions);
    }
  });
}
