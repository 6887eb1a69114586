// From an OCI config.json (runtime-spec 1.2) to a running process. Everything is synchronous; failures are FlotillaErrors.

export type { BlockDeviceUsage } from './cgroup/block-io.ts';
export { ContainerCgroup } from './cgroup/container-cgroup.ts';
export { type CgroupMode, cgroupMode } from './cgroup/hierarchies.ts';
export type { CgroupStats } from './cgroup/stats.ts';
export type { RootfsMount } from './plan/init-plan.ts';
export type { ContainerStdio } from './plan/process-plan.ts';
export { type CreatedInit, createInit, type InitOptions } from './start/create-init.ts';
export { preloadRuntime } from './start/preload.ts';
export { type ExecOptions, type StartedExec, startExec } from './start/start-exec.ts';
export type { Starter } from './start/start-request.ts';
