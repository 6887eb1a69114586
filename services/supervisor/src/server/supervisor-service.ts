import { invalidField } from '@flotilla/errors';
import { type ResolveTaskRequest, SupervisorServiceService } from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import type { ContainerUsage } from '@flotilla/proto/flotilla/v1/system';
import { type CallContext, type Implementation, implement } from '@flotilla/rpc';
import { announceAttach, announceDetach } from '../domain/attachments.ts';
import { isLive } from '../domain/container-state.ts';
import type { Engine } from '../domain/engine.ts';
import { reportExecExit, startExec } from '../domain/execs.ts';
import { nextTask } from '../domain/next-task.ts';
import { reportOom } from '../domain/report-oom.ts';
import { waitsForRestart } from '../domain/restart-policy.ts';
import { reportExit } from '../domain/task-exit.ts';
import { execToProto } from './to-proto.ts';

/** SupervisorService: what the api, shims and the image service ask. */
export function supervisorService(engine: Engine): Implementation {
  const { repository, shims, launcher, facts, files } = engine;
  return implement(SupervisorServiceService, {
    resolveTask: (request, context) => resolveTask(engine, request, context),
    startExecProcess: async ({ execId, detach }) => {
      const exec = await startExec(engine, execId, detach);
      return { shimAddress: shims.address(exec.containerId), exec: execToProto(exec) };
    },
    reportTaskExit: async ({ containerId, run, exitCode, oomKilled, exitedAtUnixNano }) => {
      await reportExit(engine, containerId, { run: Number(run), exitCode, oomKilled, exitedAtUnixNano });
      return {};
    },
    reportExecExit: async ({ execId, exitCode }) => {
      reportExecExit(engine, execId, exitCode);
      return {};
    },
    reportOom: async ({ containerId, run, killCount }) => {
      await reportOom(engine, containerId, Number(run), Number(killCount));
      return {};
    },
    reportDetach: async (request) => {
      announceDetach(engine, request);
      return {};
    },
    reportAttachmentEnd: async ({ containerId, attachmentId }) => {
      engine.attachments.end(containerId, attachmentId);
      return {};
    },
    getCounts: async () => {
      const containersByState: Record<string, number> = {};
      for (const { state } of repository.all()) containersByState[state] = (containersByState[state] ?? 0) + 1;
      const forkMode = await launcher.forkMode().catch(() => ''); // Unknown while the launcher is away.
      return { containersByState, forkMode, cgroupMode: facts.cgroupMode };
    },
    listContainerUsage: async () => {
      const containers: ContainerUsage[] = [];
      for (const record of repository.all()) {
        const { containerId, state } = record;
        const logBytes = BigInt(await files.stateSize(containerId));
        containers.push({ containerId, writableBytes: 0n, logBytes, active: isLive(state) || waitsForRestart(record) });
      }
      return { containers };
    },
    listUsers: async ({ imageId, volume }) => {
      if (imageId === '' && volume === '') throw invalidField('image_id, volume', 'given, one of them');
      const containerIds = [...repository.all()]
        .filter(
          ({ made }) =>
            (imageId !== '' && made?.imageId === imageId) ||
            (volume !== '' &&
              made?.mounts.some(({ type, source }) => type === 'MOUNT_TYPE_VOLUME' && source === volume)),
        )
        .map(({ containerId }) => containerId);
      return { containerIds };
    },
  });
}

async function resolveTask(
  engine: Engine,
  { container, wait, ...attachment }: ResolveTaskRequest,
  { signal }: CallContext,
) {
  const { repository, shims } = engine;
  const { containerId, config, state, run } = repository.find(container);
  if (attachment.attachmentId !== '') announceAttach(engine, containerId, attachment);
  const common = { containerId, tty: config.tty, openStdin: config.openStdin };
  const shimAddress = shims.address(containerId);
  if (isLive(state)) return { ...common, shimAddress, run: BigInt(run), expected: false };
  if (!wait) return { ...common, shimAddress: '', run: BigInt(run), expected: false };
  const place = await nextTask(engine, containerId, signal);
  return { ...common, shimAddress, run: BigInt(place.run), expected: place.expected };
}
