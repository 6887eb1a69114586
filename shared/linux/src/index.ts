export * from './syscall-error.ts';
