import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root folder. */
export const projectRoot: string = fileURLToPath(new URL('../..', import.meta.url));

/** A process that the keeper keeps alive. */
export interface Service {
  readonly name: ServiceName;
  /** File that Node.js runs. */
  readonly main: string;
  /** Flags of Node.js itself. */
  readonly nodeFlags: readonly string[];
}

/** The processes that listen on a socket of their own name. */
export type ServiceName = 'image' | 'network' | 'launcher' | 'supervisor' | 'api';

const main = (service: string, file: string): string => join(projectRoot, 'services', service, 'src', file);

/** In the order of start: those that others ask come first, though nobody depends on it (clients wait for ready). */
export const services: readonly Service[] = [
  { name: 'image', main: main('image', 'main.ts'), nodeFlags: [] },
  { name: 'network', main: main('network', 'main.ts'), nodeFlags: [] },
  // The flags without which a forked Node.js hangs at its first collection: its helper threads are not in the child.
  { name: 'launcher', main: main('shim', 'launcher.ts'), nodeFlags: ['--single-threaded', '--v8-pool-size=0'] },
  { name: 'supervisor', main: main('supervisor', 'main.ts'), nodeFlags: [] },
  { name: 'api', main: main('api', 'main.ts'), nodeFlags: [] },
];
