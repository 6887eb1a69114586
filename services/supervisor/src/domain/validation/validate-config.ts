import { invalidField } from '@flotilla/errors';
import { parseCapability } from '@flotilla/libcontainer/defaults';
import type { ContainerConfig, Healthcheck } from '../container-config.ts';
import type { HostFacts } from '../host-facts.ts';
import { parseSignal } from '../signals.ts';
import { checkUserForm } from '../users.ts';
import { checkDevices } from './devices.ts';
import { parseLogOptions } from './log-options.ts';
import { cgroupnsMode, ipcMode, networkMode, pidMode, utsMode } from './modes.ts';
import { checkMounts } from './mounts.ts';
import { checkHostname } from './names.ts';
import { checkNetwork } from './network.ts';
import { checkResources, resourceWarnings } from './resources.ts';
import { checkPolicy } from './restart-policy.ts';
import { parseSecurityOptions } from './security-options.ts';
import { checkSysctls } from './sysctls.ts';
import { checkChoice, checkEach, checkText } from './text.ts';
import { parseUlimits } from './ulimits.ts';
import { parseVolumesFrom } from './volumes-from.ts';

/** Refuses with INVALID_FIELD whatever cannot be honoured; returns what the user should know. */
export function validateConfig(config: ContainerConfig, facts: HostFacts): string[] {
  checkProcess(config);
  checkIdentity(config);
  checkSecurity(config, facts);
  checkMounts(config.mounts);
  checkEach(config.volumesFrom, 'volumes_from', (text, field) => void parseVolumesFrom(text, field));
  checkNetwork(config);
  checkSysctls(config);
  if (config.resources !== undefined) checkResources(config.resources, facts);
  parseLogOptions(config.log);
  checkPolicy(config.restartPolicy, config.autoRemove);
  if (config.healthcheck !== undefined) checkHealthcheck(config.healthcheck);
  checkRuntime(config, facts);
  return warningsFor(config, facts);
}

function checkProcess(config: ContainerConfig): void {
  if (config.image === '') throw invalidField('image', 'given');
  checkText(config.image, 'image', 512);
  checkEach(config.command, 'command', (argument, field) => checkText(argument, field));
  checkEach(config.entrypoint, 'entrypoint', (argument, field) => checkText(argument, field));
  checkEach(config.env, 'env', checkEnv);
  checkUserForm(config.user, 'user');
  checkEach(config.groupAdd, 'group_add', (group, field) => {
    if (group === '' || group.includes(':')) throw invalidField(field, 'a group name or number', group);
    checkUserForm(group, field);
  });
  checkText(config.workingDir, 'working_dir', 4095);
  if (config.workingDir !== '' && !config.workingDir.startsWith('/')) {
    throw invalidField('working_dir', 'an absolute path', config.workingDir);
  }
  if (config.stopSignal !== '') parseSignal(config.stopSignal, 'stop_signal');
  if (config.oomScoreAdj < -1000 || config.oomScoreAdj > 1000) {
    throw invalidField('oom_score_adj', '-1000 to 1000', String(config.oomScoreAdj));
  }
  if (config.shmSizeBytes < 0n) throw invalidField('shm_size_bytes', '0 or more', String(config.shmSizeBytes));
  parseUlimits(config.ulimits);
}

/** environ(7): `NAME=value`, or `NAME` alone to unset it. */
export function checkEnv(entry: string, field: string): void {
  checkText(entry, field);
  if (entry === '' || entry.startsWith('=')) throw invalidField(field, '`NAME=value` or `NAME`', entry);
}

function checkIdentity(config: ContainerConfig): void {
  if (config.hostname !== '') checkHostname(config.hostname, 'hostname');
  if (config.domainname !== '') checkHostname(config.domainname, 'domainname');
  const labels = Object.entries(config.labels);
  checkEach(labels, 'labels', ([key, value], field) => {
    if (key === '') throw invalidField(field, 'given a key');
    checkText(key, field, 4096);
    checkText(value, field);
  });
  const uts = utsMode(config.utsMode);
  if (uts.kind === 'host' && config.hostname !== '') throw invalidField('hostname', 'left out with uts mode host');
  ipcMode(config.ipcMode);
  pidMode(config.pidMode);
  cgroupnsMode(config.cgroupnsMode);
  checkChoice(config.usernsMode, 'userns_mode', ['', 'host']);
}

function checkSecurity(config: ContainerConfig, facts: HostFacts): void {
  checkEach(config.capabilitiesAdd, 'capabilities_add', (name, field) => void parseCapability(name, field));
  checkEach(config.capabilitiesDrop, 'capabilities_drop', (name, field) => void parseCapability(name, field));
  checkEach(config.securityOptions, 'security_options', (option, field) => checkText(option, field, 1 << 20));
  parseSecurityOptions(config.securityOptions, facts);
  checkDevices(config.devices);
}

function checkHealthcheck(healthcheck: Healthcheck): void {
  const [kind, ...rest] = healthcheck.test;
  if (kind !== undefined) checkChoice(kind, 'healthcheck.test', ['', 'NONE', 'CMD', 'CMD-SHELL']);
  if ((kind === 'CMD' || kind === 'CMD-SHELL') && rest.length === 0) {
    throw invalidField('healthcheck.test', `given a command after ${kind}`);
  }
  checkEach(healthcheck.test, 'healthcheck.test', (text, field) => checkText(text, field));
  const { intervalNanos, timeoutNanos, startPeriodNanos, startIntervalNanos } = healthcheck;
  for (const [name, nanos] of Object.entries({ intervalNanos, timeoutNanos, startPeriodNanos, startIntervalNanos })) {
    if (nanos < 0n || (nanos > 0n && nanos < 1_000_000n)) {
      const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      throw invalidField(`healthcheck.${field}`, '0 or at least one millisecond', String(nanos));
    }
  }
}

function checkRuntime({ runtime, init, mounts }: ContainerConfig, { runtimes, initPath }: HostFacts): void {
  if (runtime !== '' && runtime !== 'flotilla' && !runtimes.has(runtime)) {
    const known = ['flotilla', ...runtimes.keys()].join(', ');
    throw invalidField('runtime', `one that is installed (${known})`, runtime);
  }
  // No other runtime can be told to resolve a path within a folder that a container may be changing.
  const index = runtime === '' || runtime === 'flotilla' ? -1 : mounts.findIndex((mount) => mount.volumeSubpath !== '');
  if (index !== -1) throw invalidField(`mounts[${index}].volume_subpath`, `left out with runtime ${runtime}`);
  if (init && initPath === undefined) {
    throw invalidField('init', 'left out: /usr/bin/tini-static is not installed (package tini)');
  }
}

function warningsFor(config: ContainerConfig, facts: HostFacts): string[] {
  const warnings = config.resources === undefined ? [] : resourceWarnings(config.resources, facts);
  const { kind } = networkMode(config.networkMode);
  if ((kind === 'host' || kind === 'none') && (config.ports.length > 0 || config.publishAllPorts)) {
    warnings.push(`Published ports are discarded when using ${kind} network mode`);
  }
  return warnings;
}
