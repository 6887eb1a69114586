import { byArchitecture } from './constants.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cKeyctl = libc.func('syscall', 'long', ['long', 'int', 'str']);
const SYS_keyctl = byArchitecture(250, 219);
const KEYCTL_JOIN_SESSION_KEYRING = 1;

/** keyctl(2): leaves the session keyring that was inherited for a new or existing one of this name. */
export function joinSessionKeyring(name: string): void {
  check(cKeyctl(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name), 'keyctl', name);
}
