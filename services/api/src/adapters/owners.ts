import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import { UsageServiceService } from '@flotilla/proto/flotilla/image/v1/usage';
import { SupervisorServiceService } from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { ContainerServiceService } from '@flotilla/proto/flotilla/v1/container';
import { ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { type Client, connect } from '@flotilla/rpc';

const { getContainer, streamLogs, waitContainer } = ContainerServiceService;
const { getExec } = ExecServiceService;
const { getCounts, listContainerUsage, reportAttachmentEnd, reportDetach, resolveTask, startExecProcess } =
  SupervisorServiceService;

/** What the api itself asks of the supervisor, over one connection: calls arrive in the order in which they are made. */
const supervisorCalls = {
  getContainer,
  streamLogs,
  waitContainer,
  getCounts,
  getExec,
  listContainerUsage,
  reportAttachmentEnd,
  reportDetach,
  resolveTask,
  startExecProcess,
};

export type SupervisorClient = Client<typeof supervisorCalls>;

/** Connects to the supervisor, for what is not merely passed on. */
export function connectSupervisor(address: string, deadlineMs: number): SupervisorClient {
  return connect(supervisorCalls, { address, name: 'supervisor', deadlineMs });
}

const imageCalls = {
  listImages: ImageServiceService.listImages,
  getUsage: UsageServiceService.getUsage,
  getSnapshotter: SnapshotServiceService.getSnapshotter,
};

export type ImageClient = Client<typeof imageCalls>;

/** Connects to the image service, to count images and ask how they are kept and what is on disk. */
export function connectImages(address: string, deadlineMs: number): ImageClient {
  return connect(imageCalls, { address, name: 'image', deadlineMs });
}
