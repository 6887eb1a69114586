import { invalidField } from '@flotilla/errors';
import {
  ContainerServiceService,
  CreateContainerRequest,
  ExplainContainerResponse,
  type WaitContainerRequest,
} from '@flotilla/proto/flotilla/v1/container';
import { type Implementation, implement } from '@flotilla/rpc';
import { explainContainer } from '../adapters/explain.ts';
import { commitContainer } from '../domain/commit-container.ts';
import { CommitFreezes } from '../domain/commit-freezes.ts';
import { type ContainerRecord, containerEvent } from '../domain/container.ts';
import { createContainer } from '../domain/create-container.ts';
import type { Engine } from '../domain/engine.ts';
import { checkRunning, killContainer } from '../domain/kill-container.ts';
import { listChanges } from '../domain/list-changes.ts';
import { listProcesses } from '../domain/list-processes.ts';
import type { Observer } from '../domain/observation.ts';
import { pauseContainer, unpauseContainer } from '../domain/pause-container.ts';
import type { Trees } from '../domain/ports.ts';
import { pruneContainers } from '../domain/prune-containers.ts';
import { removeContainer } from '../domain/remove-container.ts';
import { renameContainer } from '../domain/rename-container.ts';
import { replaceShim } from '../domain/replace-shim.ts';
import { restartContainer } from '../domain/restart-container.ts';
import type { SnapshotTrees } from '../domain/snapshot-trees.ts';
import { startContainer } from '../domain/start-container.ts';
import { StatsSampler } from '../domain/stats-sampler.ts';
import { stopContainer } from '../domain/stop-container.ts';
import { updateContainer } from '../domain/update-container.ts';
import { logDriverOf } from '../domain/validation/log-options.ts';
import { type WaitFor, waitContainer } from '../domain/wait-container.ts';
import { copyMethods } from './copy-files.ts';
import { selectContainers } from './list-containers.ts';
import { streamLogs } from './stream-logs.ts';
import { streamStats } from './stream-stats.ts';
import { containerToProto } from './to-proto.ts';

export interface ContainerServiceOptions {
  readonly engine: Engine;
  /** Folders of a container's layers. */
  readonly layers: (containerId: string) => Promise<{ layerPaths: readonly string[]; upperPath: string }>;
  readonly observer: Observer;
  readonly trees: SnapshotTrees;
  readonly copies: Trees;
}

/** ContainerService: decode, call, encode. The rules are in domain/. */
export function containerService({ engine, layers, observer, trees, copies }: ContainerServiceOptions): Implementation {
  const { repository, files, shims } = engine;
  const logPathOf = ({ containerId, config }: ContainerRecord) => files.logPath(containerId, logDriverOf(config.log));
  const freezes = new CommitFreezes(engine);
  const sampler = new StatsSampler(engine, observer);
  return implement(ContainerServiceService, {
    ...copyMethods({ ...engine, trees: copies }),
    createContainer: async (request) => {
      const { config, name, idempotencyKey } = request;
      if (config === undefined) throw invalidField('config', 'given');
      const bytes = CreateContainerRequest.encode(request).finish();
      const record = await createContainer(engine, { config, name, idempotencyKey, bytes });
      return { containerId: record.containerId, warnings: [...record.warnings], name: record.name };
    },
    startContainer: async ({ container, afterRun }) => {
      const { changed, run } = await startContainer(
        engine,
        container,
        afterRun === undefined ? undefined : Number(afterRun),
      );
      return { changed, run: BigInt(run) };
    },
    stopContainer: async ({ container, timeoutSeconds, signal }) => ({
      changed: await stopContainer(engine, container, { signal, timeoutSeconds }),
    }),
    restartContainer: async ({ container, timeoutSeconds, signal }) => ({
      run: BigInt(await restartContainer(engine, container, { signal, timeoutSeconds })),
    }),
    killContainer: async ({ container, signal }) => {
      await killContainer(engine, container, signal);
      return {};
    },
    pauseContainer: async ({ container }) => {
      await pauseContainer(engine, container);
      return {};
    },
    unpauseContainer: async ({ container }) => {
      await unpauseContainer(engine, container);
      return {};
    },
    waitContainer: async (request, { signal, stopping }) => {
      // It may take for ever: whoever waits asks again when this process stops.
      const until = AbortSignal.any([signal, stopping]);
      const { exitCode, error, run } = await waitContainer(engine, request.container, waitFor(request), until);
      return { exitCode, error, run: BigInt(run) };
    },
    removeContainer: async ({ container, force, removeVolumes }) => {
      await removeContainer(engine, container, { force, removeVolumes });
      return {};
    },
    pruneContainers: async (request, { signal }) => {
      const { containerIds, bytes } = await pruneContainers(engine, request, signal);
      return { containerIds: [...containerIds], reclaimedBytes: BigInt(bytes) };
    },
    renameContainer: async ({ container, name }) => {
      await renameContainer(engine, container, name);
      return {};
    },
    updateContainer: async ({ container, resources, restartPolicy }) => ({
      warnings: [...(await updateContainer(engine, container, { resources, restartPolicy }))],
    }),
    getContainer: async ({ container }) => {
      const record = repository.find(container);
      return { container: containerToProto(record, logPathOf(record)) };
    },
    listContainers: async (request) => ({
      containers: selectContainers(repository.all(), request).map((record) =>
        containerToProto(record, logPathOf(record)),
      ),
    }),
    streamLogs: (request, context) => streamLogs(engine, request, context),
    resizeContainer: async ({ container, size }) => {
      if (size === undefined) throw invalidField('size', 'given');
      const record = repository.find(container);
      checkRunning(record);
      await shims.resize(record.containerId, '', size);
      const { rows, columns } = size;
      const attributes = { height: String(rows), width: String(columns) };
      repository.save({ events: [containerEvent(record, 'resize', engine.now(), attributes)] });
      return {};
    },
    listProcesses: async ({ container, psArgs }, { signal }) => {
      const { titles, rows } = await listProcesses(engine, observer, { container, psArgs, signal });
      return { titles, rows: rows.map((values) => ({ values })) };
    },
    streamStats: (request, context) => streamStats(sampler, request, context),
    listChanges: async ({ container }, { signal }) => ({
      changes: await listChanges(engine, trees, container, signal),
    }),
    async *exportContainer({ container }, { signal }) {
      const { containerId } = repository.find(container);
      for await (const chunk of trees.export(containerId, signal)) yield { chunk };
    },
    commitContainer: async (request, { signal, stopping }) => ({
      imageId: await commitContainer(engine, { trees, freezes }, request, AbortSignal.any([signal, stopping])),
    }),
    replaceShim: ({ container }) => replaceShim(engine, container),
    explainContainer: async ({ container }) => {
      const record = repository.find(container);
      const { containerId } = record;
      const sections = explainContainer({
        container: record,
        layers: await layers(containerId),
        shimAddress: shims.address(containerId),
        logPath: logPathOf(record),
      });
      return ExplainContainerResponse.create({ sections });
    },
  });
}

function waitFor({ condition, afterRun: after }: WaitContainerRequest): WaitFor {
  const afterRun = after === undefined ? undefined : Number(after);
  switch (condition) {
    case 'WAIT_CONDITION_UNSPECIFIED':
    case 'WAIT_CONDITION_NOT_RUNNING':
      return { condition: 'not running', afterRun };
    case 'WAIT_CONDITION_NEXT_EXIT':
      return { condition: 'next exit', afterRun };
    case 'WAIT_CONDITION_REMOVED':
      return { condition: 'removed' };
    default:
      throw invalidField('condition', 'not running, next exit or removed', condition);
  }
}
