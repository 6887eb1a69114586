import { fileURLToPath } from 'node:url';

/** The project's root folder: that of the release which this code belongs to. */
export const projectRoot: string = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** The processes that listen on a socket of their own name. */
export type ServiceName = 'image' | 'network' | 'launcher' | 'supervisor' | 'api';

/** In the order of start: those that others ask come first, though nobody depends on it (clients wait for ready). */
export const serviceNames: readonly ServiceName[] = ['image', 'network', 'launcher', 'supervisor', 'api'];
