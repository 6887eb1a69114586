import { ContainerConfig, type DeepPartial } from '@flotilla/proto/flotilla/v1/container';
import { ExecConfig } from '@flotilla/proto/flotilla/v1/exec';
import { ImageConfig } from '@flotilla/proto/flotilla/v1/image';
import type { HostFacts } from '../domain/host-facts.ts';

/** A request that is right, with what differs. */
export function aConfig(changes: DeepPartial<ContainerConfig> = {}): ContainerConfig {
  return ContainerConfig.fromPartial({ image: 'busybox', command: ['true'], ...changes });
}

/** An exec that is right, with what differs. */
export function anExecConfig(changes: DeepPartial<ExecConfig> = {}): ExecConfig {
  return ExecConfig.fromPartial({ command: ['true'], ...changes });
}

/** An image's config, with what differs. */
export function anImage(changes: DeepPartial<ImageConfig> = {}): ImageConfig {
  return ImageConfig.fromPartial(changes);
}

/** A host with everything. */
export const someFacts: HostFacts = {
  arch: 'x64',
  kernelRelease: '6.1.0-13-amd64',
  cgroupMode: 'v1',
  controllers: new Set(['memory', 'cpu', 'cpuset', 'pids', 'blkio', 'devices', 'freezer']),
  swapLimit: true,
  onlineCpus: '0-3',
  memoryNodes: '0',
  runtimes: new Map([['runc', '/usr/sbin/runc']]),
  initPath: '/usr/bin/tini-static',
  selinux: false,
  hostname: 'host',
};
