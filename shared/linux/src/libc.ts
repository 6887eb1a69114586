import process from 'node:process';

// A Node.js that was executed by descriptor sees `process.execPath === '/'`, from which koffi concludes musl.
if (process.execPath === '/') process.execPath = process.argv0;
const { default: koffiModule } = await import('koffi');

/** The one door to C: shared/linux alone imports it. */
export const koffi = koffiModule;

export const libc = koffi.load('libc.so.6');

/** The node binary itself, which exports libuv. */
export const self = koffi.load(null);
