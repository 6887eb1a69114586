import { invalidField } from '@flotilla/errors';
import type { ContainerConfig, ImageConfig, InheritedMount, MountConfig, PortMapping } from '../container-config.ts';
import { parseSignal } from '../signals.ts';
import { cleanPath } from '../validation/mounts.ts';
import { parseExposedPort } from '../validation/network.ts';
import { checkEach, checkText } from '../validation/text.ts';

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const defaultStopSignal = 'SIGTERM';
const defaultStopTimeoutSeconds = 10;
const mostImageEntries = 1000;

/**
 * Entrypoint and command, one after the other, as Docker merges them: who replaces the entrypoint also drops the image's
 * command. INVALID_FIELD when nothing is left.
 */
export function mergeArgs(config: ContainerConfig, image: ImageConfig): string[] {
  const replaced = config.entrypoint.length > 0;
  const entrypoint = replaced ? config.entrypoint : image.entrypoint;
  const command = config.command.length > 0 || replaced ? config.command : image.cmd;
  const none = entrypoint.length === 1 && entrypoint[0] === '';
  const args = [...(none ? [] : entrypoint), ...command];
  if (args.length === 0) throw invalidField('command', 'given: the image has none');
  if (args[0] === '') throw invalidField('command', 'given a program', '');
  return args;
}

export interface EnvContext {
  readonly hostname: string;
  readonly tty: boolean;
  readonly home: string;
}

/** The environment: defaults, the image's, the user's; a later entry wins, a name alone takes it away. */
export function mergeEnv(
  imageEnv: readonly string[],
  ownEnv: readonly string[],
  { hostname, tty, home }: EnvContext,
): string[] {
  const base = [defaultPath, `HOSTNAME=${hostname}`, ...(tty ? ['TERM=xterm'] : [])];
  const env = overlayEnv(overlayEnv(base, imageEnv), ownEnv);
  return env.some((entry) => entry.startsWith('HOME=')) ? env : [...env, `HOME=${home}`];
}

/** Puts entries over others: a name that is there keeps its place. */
export function overlayEnv(base: readonly string[], over: readonly string[]): string[] {
  const entries = new Map(base.map((entry) => [nameOf(entry), entry]));
  for (const entry of over) {
    if (entry.includes('=')) entries.set(nameOf(entry), entry);
    else entries.delete(entry);
  }
  return [...entries.values()];
}

function nameOf(entry: string): string {
  return entry.slice(0, entry.indexOf('='));
}

/** The user's labels over the image's. */
export function mergeLabels(config: ContainerConfig, image: ImageConfig): Record<string, string> {
  return { ...image.labels, ...config.labels };
}

/** Absolute. */
export function mergeWorkingDir(config: ContainerConfig, image: ImageConfig): string {
  return cleanPath(config.workingDir || image.workingDir || '/');
}

/** Number. */
export function mergeStopSignal(config: ContainerConfig, image: ImageConfig): number {
  return parseSignal(config.stopSignal || image.stopSignal || defaultStopSignal, 'stop_signal');
}

/** Seconds; undefined for ever. */
export function stopTimeoutSeconds(asked: number | undefined, config: ContainerConfig): number | undefined {
  const seconds = asked ?? config.stopTimeoutSeconds ?? defaultStopTimeoutSeconds;
  return seconds < 0 ? undefined : seconds;
}

/**
 * What other containers share, the user's mounts over them, and an anonymous volume on each volume path of the image that
 * has nothing on it.
 */
export function mergeMounts(
  config: ContainerConfig,
  image: ImageConfig,
  inherited: readonly InheritedMount[] = [],
): (MountConfig | InheritedMount)[] {
  const own = config.mounts.map((mount) => ({ ...mount, target: cleanPath(mount.target) }));
  const byTarget = new Map([...inherited, ...own].map((mount) => [mount.target, mount]));
  const volumes = [...new Set(image.volumes.map(cleanPath))].filter((target) => !byTarget.has(target));
  return [...byTarget.values(), ...volumes.map(anonymousVolume)];
}

function anonymousVolume(target: string): MountConfig {
  return {
    type: 'MOUNT_TYPE_VOLUME',
    source: '',
    target,
    readOnly: false,
    propagation: '',
    createSource: false,
    noCopy: false,
    tmpfsSizeBytes: 0n,
    tmpfsMode: 0,
    tmpfsOptions: [],
    nonRecursive: false,
    readOnlyNonRecursive: false,
    readOnlyForceRecursive: false,
    volumeDriver: '',
    volumeOptions: {},
    volumeLabels: {},
    volumeSubpath: '',
  };
}

/** The ports to publish: those asked for and, with publish_all_ports, every exposed one on a free port of the host. */
export function mergePorts(config: ContainerConfig, image: ImageConfig): PortMapping[] {
  if (!config.publishAllPorts) return config.ports;
  const ports = [...config.ports];
  for (const [index, text] of [...image.exposedPorts, ...config.exposedPorts].entries()) {
    const { first, last, protocol } = parseExposedPort(text, `exposed_ports[${index}]`);
    for (let containerPort = first; containerPort <= last; containerPort++) {
      const known = ports.some((port) => port.containerPort === containerPort && (port.protocol || 'tcp') === protocol);
      if (!known) ports.push({ hostIp: '', hostPort: 0, containerPort, protocol });
    }
  }
  return ports;
}

/** An image's config is untrusted: INVALID_FIELD, naming the image's field, for what could not be run. */
export function checkImageConfig(image: ImageConfig): void {
  for (const name of ['env', 'entrypoint', 'cmd', 'volumes', 'exposedPorts'] as const) {
    checkEach(image[name], `image's ${name}`, (entry, field) => checkText(entry, field));
    if (image[name].length > mostImageEntries)
      throw invalidField(`image's ${name}`, `at most ${mostImageEntries} long`);
  }
  if (image.workingDir !== '' && !image.workingDir.startsWith('/')) {
    throw invalidField("image's working_dir", 'an absolute path', image.workingDir);
  }
  checkText(image.workingDir, "image's working_dir", 4095);
  checkEach(image.volumes, "image's volumes", (volume, field) => {
    const path = cleanPath(volume);
    if (!path.startsWith('/') || path === '/' || path === '/proc' || path.startsWith('/proc/')) {
      throw invalidField(field, 'an absolute path other than / and /proc', volume);
    }
  });
  if (image.stopSignal !== '') parseSignal(image.stopSignal, "image's stop_signal");
}
