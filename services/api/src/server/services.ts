import { natsUrl, type Paths, socketPath } from '@flotilla/config';
import { streamEvents } from '@flotilla/events';
import { ContainerServiceService } from '@flotilla/proto/flotilla/v1/container';
import { EventServiceService } from '@flotilla/proto/flotilla/v1/event';
import { ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { NetworkServiceService } from '@flotilla/proto/flotilla/v1/network';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { forward, type Implementation, implement, type ServiceShape } from '@flotilla/rpc';
import type { SupervisorClient } from '../adapters/owners.ts';
import type { ShimConnections } from '../adapters/shim-connections.ts';
import { attachContainer } from './attach-container.ts';
import { startExec } from './start-exec.ts';
import { streamLogs } from './stream-logs.ts';
import { waitContainer } from './wait-container.ts';

export interface ServiceOptions {
  readonly paths: Paths;
  readonly supervisor: SupervisorClient;
  readonly shims: ShimConnections;
  readonly deadlineMs: number;
  readonly resumeMs: number;
  /** Aborted when the process begins to stop. */
  readonly stopping: AbortSignal;
}

/** Calls whose answer waits for a container or for files, which may take as long as they like, or for a whole disk to be looked at. */
const patientCalls = [
  'stopContainer',
  'restartContainer',
  'removeContainer',
  'listChanges',
  'statArchive',
  'commitContainer',
  'pruneContainers',
  'pruneImages',
  'pruneVolumes',
];

/** The public services that have an owner: passed on to it as bytes, but for what the api does itself. */
export function ownedServices(options: ServiceOptions): (Implementation & Disposable)[] {
  const { paths, supervisor, shims, deadlineMs, resumeMs, stopping } = options;
  const owner = (name: 'supervisor' | 'image' | 'network', service: ServiceShape) => ({
    address: `unix://${socketPath(paths, name)}`,
    name,
    deadlineMs: (method: string) => (isPatient(service, method) ? Number.POSITIVE_INFINITY : deadlineMs),
  });
  return [
    forward(ContainerServiceService, owner('supervisor', ContainerServiceService), {
      attachContainer: attachContainer({ supervisor, shims, resumeMs }),
      streamLogs: streamLogs(supervisor, resumeMs),
      waitContainer: waitContainer(supervisor, resumeMs, stopping),
    }),
    forward(ExecServiceService, owner('supervisor', ExecServiceService), {
      startExec: startExec({ supervisor, shims, resumeMs }),
    }),
    forward(ImageServiceService, owner('image', ImageServiceService)),
    forward(VolumeServiceService, owner('image', VolumeServiceService)),
    forward(NetworkServiceService, owner('network', NetworkServiceService)),
  ];
}

function isPatient(service: ServiceShape, method: string): boolean {
  const { requestStream = false, responseStream = false } = service[method] ?? {};
  return requestStream || responseStream || patientCalls.includes(method);
}

/** EventService, from NATS. */
export function eventService(paths: Paths): Implementation {
  return implement(EventServiceService, {
    streamEvents: (request, { signal }) => streamEvents({ natsUrl: () => natsUrl(paths), request, signal }),
  });
}
