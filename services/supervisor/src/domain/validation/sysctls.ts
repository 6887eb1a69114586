import { invalidField } from '@flotilla/errors';
import type { ContainerConfig } from '../container-config.ts';
import { ipcMode, networkMode } from './modes.ts';

/** ipc_namespaces(7): the parameters that each IPC namespace has for itself. */
const ipcNames = 'msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced'
  .split(' ')
  .map((name) => `kernel.${name}`);
const namePattern = /^[a-z0-9_-]+(\.[a-zA-Z0-9_-]+)+$/;
const longestValue = 1024;

/** INVALID_FIELD for a kernel parameter that is not a namespace's own, or whose namespace is not the container's own. */
export function checkSysctls(config: ContainerConfig): void {
  for (const [name, value] of Object.entries(config.sysctls)) {
    const field = `sysctls[${name.slice(0, 100)}]`;
    const network = name.startsWith('net.');
    const ipc = ipcNames.includes(name) || name.startsWith('fs.mqueue.');
    if (!namePattern.test(name) || !(network || ipc)) {
      throw invalidField(field, 'a parameter of a namespace: net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*');
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (value.length > longestValue || /[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
      throw invalidField(field, `one line of at most ${longestValue} characters`, value);
    }
    if (network && ['host', 'container'].includes(networkMode(config.networkMode).kind)) {
      throw invalidField(field, `left out with network mode ${config.networkMode}`);
    }
    if (ipc && ipcMode(config.ipcMode).kind !== 'private') {
      throw invalidField(field, `left out with ipc mode ${config.ipcMode}`);
    }
  }
}
