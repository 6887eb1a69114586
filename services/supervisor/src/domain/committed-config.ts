import { applyChanges } from '@flotilla/oci';
import type { Made } from './container.ts';
import type { ContainerConfig, Healthcheck, ImageConfig } from './container-config.ts';
import { parseSignal } from './signals.ts';
import { checkImageConfig, mergeLabels, mergePorts, overlayEnv } from './spec/merge-config.ts';

/**
 * What an image of a container gives to its containers: what this one was made with, of its image and its user, with
 * Dockerfile instructions over it. As in Docker, triggers for builds (ONBUILD) are not inherited. INVALID_FIELD.
 */
export function committedConfig(config: ContainerConfig, { image }: Made, changes: readonly string[]): ImageConfig {
  const own = inheritedConfig(config, image);
  const changed = applyChanges(own, changes, 'changes');
  if (changed.stopSignal !== own.stopSignal) parseSignal(changed.stopSignal, 'changes STOPSIGNAL');
  checkImageConfig(changed);
  return { ...changed, healthcheck: mergeHealthcheck(changed.healthcheck, own.healthcheck) };
}

function inheritedConfig(config: ContainerConfig, image: ImageConfig): ImageConfig {
  const replaced = config.entrypoint.length > 0;
  const entrypoint = replaced ? config.entrypoint : image.entrypoint;
  const published = mergePorts(config, image).map(
    ({ containerPort, protocol }) => `${containerPort}/${protocol || 'tcp'}`,
  );
  const anonymous = config.mounts.filter(({ type, source }) => type === 'MOUNT_TYPE_VOLUME' && source === '');
  return {
    user: config.user || image.user,
    exposedPorts: [...new Set([...image.exposedPorts, ...config.exposedPorts, ...published])],
    env: overlayEnv(image.env, config.env),
    entrypoint: entrypoint.length === 1 && entrypoint[0] === '' ? [] : entrypoint,
    cmd: config.command.length > 0 || replaced ? config.command : image.cmd,
    volumes: [...new Set([...image.volumes, ...anonymous.map(({ target }) => target)])],
    workingDir: config.workingDir || image.workingDir,
    labels: mergeLabels(config, image),
    stopSignal: config.stopSignal || image.stopSignal,
    healthcheck: mergeHealthcheck(config.healthcheck, image.healthcheck),
    shell: image.shell,
    onBuild: [],
  };
}

/** What the first does not say, the second does. */
function mergeHealthcheck(over: Healthcheck | undefined, under: Healthcheck | undefined): Healthcheck | undefined {
  if (over === undefined || under === undefined) return over ?? under;
  return {
    test: over.test.length > 0 ? over.test : under.test,
    intervalNanos: over.intervalNanos || under.intervalNanos,
    timeoutNanos: over.timeoutNanos || under.timeoutNanos,
    startPeriodNanos: over.startPeriodNanos || under.startPeriodNanos,
    startIntervalNanos: over.startIntervalNanos || under.startIntervalNanos,
    retries: over.retries || under.retries,
  };
}
