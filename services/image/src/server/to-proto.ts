import { familiarReference, parseReference } from '@flotilla/oci';
import type { ImageConfigDocument } from '@flotilla/oci/image';
import { Image, ImageConfig, type ImageHealthcheck } from '@flotilla/proto/flotilla/v1/image';
import { Volume } from '@flotilla/proto/flotilla/v1/volume';
import { type ImageRecord, parseTime } from '../domain/image.ts';
import type { VolumeRecord } from '../domain/volume.ts';

export function imageToProto(image: ImageRecord, references: readonly string[]): Image {
  const { config } = image;
  const names = references.map((reference) => parseReference(reference));
  const [tagged, byDigest] = [
    names.filter(({ tag }) => tag !== undefined),
    names.filter(({ tag }) => tag === undefined),
  ];
  return Image.fromPartial({
    imageId: image.imageId,
    manifestDigest: image.manifestDigest,
    references: tagged.map(familiarReference),
    digestReferences: byDigest.map(familiarReference),
    sizeBytes: BigInt(image.sizeBytes),
    createdAtUnixNano: parseTime(config.created),
    architecture: config.architecture,
    os: config.os,
    variant: config.variant ?? '',
    author: config.author ?? '',
    // Docker's engine keeps it with the last step.
    comment: config.comment || (config.history?.at(-1)?.comment ?? ''),
    config: configToProto(config.config),
    diffIds: [...image.diffIds],
  });
}

function configToProto(config: ImageConfigDocument['config']): ImageConfig {
  const health = config?.Healthcheck;
  return ImageConfig.fromPartial({
    user: config?.User ?? '',
    exposedPorts: Object.keys(config?.ExposedPorts ?? {}),
    env: config?.Env ?? [],
    entrypoint: config?.Entrypoint ?? [],
    cmd: config?.Cmd ?? [],
    volumes: Object.keys(config?.Volumes ?? {}),
    workingDir: config?.WorkingDir ?? '',
    labels: config?.Labels ?? {},
    stopSignal: config?.StopSignal ?? '',
    shell: config?.Shell ?? [],
    onBuild: config?.OnBuild ?? [],
    ...(health == null
      ? {}
      : {
          healthcheck: {
            test: health.Test ?? [],
            intervalNanos: BigInt(health.Interval ?? 0),
            timeoutNanos: BigInt(health.Timeout ?? 0),
            startPeriodNanos: BigInt(health.StartPeriod ?? 0),
            startIntervalNanos: BigInt(health.StartInterval ?? 0),
            retries: health.Retries ?? 0,
          },
        }),
  });
}

/** The form of the image config document (OCI image-spec, config.md, Properties). */
export function configFromProto(config: ImageConfig | undefined): NonNullable<ImageConfigDocument['config']> {
  if (config === undefined) return {};
  const set = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, {}]));
  return {
    ...(config.user === '' ? {} : { User: config.user }),
    ...(config.exposedPorts.length === 0 ? {} : { ExposedPorts: set(config.exposedPorts) }),
    ...(config.env.length === 0 ? {} : { Env: config.env }),
    ...(config.entrypoint.length === 0 ? {} : { Entrypoint: config.entrypoint }),
    ...(config.cmd.length === 0 ? {} : { Cmd: config.cmd }),
    ...(config.volumes.length === 0 ? {} : { Volumes: set(config.volumes) }),
    ...(config.workingDir === '' ? {} : { WorkingDir: config.workingDir }),
    ...(Object.keys(config.labels).length === 0 ? {} : { Labels: config.labels }),
    ...(config.stopSignal === '' ? {} : { StopSignal: config.stopSignal }),
    ...(config.shell.length === 0 ? {} : { Shell: config.shell }),
    ...(config.onBuild.length === 0 ? {} : { OnBuild: config.onBuild }),
    ...(config.healthcheck === undefined ? {} : { Healthcheck: healthcheckFromProto(config.healthcheck) }),
  };
}

function healthcheckFromProto(health: ImageHealthcheck): NonNullable<ImageConfigDocument['config']>['Healthcheck'] {
  return {
    Test: health.test,
    Interval: Number(health.intervalNanos),
    Timeout: Number(health.timeoutNanos),
    StartPeriod: Number(health.startPeriodNanos),
    StartInterval: Number(health.startIntervalNanos),
    Retries: health.retries,
  };
}

export function volumeToProto(volume: VolumeRecord, mountpoint: string): Volume {
  return Volume.fromPartial({
    name: volume.name,
    driver: 'local',
    options: { ...volume.options },
    labels: { ...volume.labels },
    mountpoint,
    createdAtUnixNano: volume.createdAtUnixNano,
    anonymous: volume.anonymous,
  });
}
