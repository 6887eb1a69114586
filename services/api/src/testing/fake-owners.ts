import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { currentRequestId } from '@flotilla/log';
import { type AttachRequest, AttachResponse, ShimServiceService } from '@flotilla/proto/flotilla/shim/v1/shim';
import {
  type ReportDetachRequest,
  ResolveTaskResponse,
  SupervisorServiceService,
} from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { Container, ContainerServiceService, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';
import { Exec, ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { type Implementation, implement } from '@flotilla/rpc';

export const containerId = 'c'.repeat(64);

/** What the owners behind the api were asked, and what they know. */
export class Owners {
  tty = true;
  afterRuns: unknown[] = [];
  logs: string[] = [];
  logEnd = false;
  waitAnswers = true;
  readonly attachments: string[] = [];
  readonly detached: ReportDetachRequest[] = [];
  /** Until then the shim lets everybody go. */
  handsOverUntil = 0;

  /** As before the first test. What was told of attachments and detachments stays. */
  reset(): void {
    Object.assign(this, { tty: true, afterRuns: [], logs: [], logEnd: false, waitAnswers: true });
  }
}

/** What the supervisor serves. */
export function fakeSupervisor(owners: Owners, shimAddress: string): Implementation[] {
  return [containerService(owners), execService, supervisorService(owners, shimAddress)];
}

const containerService = (owners: Owners) =>
  implement(ContainerServiceService, {
    getContainer: async ({ container }) => {
      if (container !== containerId) {
        throw new FlotillaError('not_found', `no such container: ${container}`, {
          reason: 'CONTAINER_NOT_FOUND',
          metadata: { container },
        });
      }
      const status = { state: 'CONTAINER_STATE_RUNNING' as const };
      return {
        container: Container.fromPartial({
          containerId,
          name: currentRequestId() ?? '',
          config: { tty: owners.tty },
          status,
        }),
      };
    },
    async *streamLogs({ follow, afterCursor, tail }, { signal }) {
      let at = afterCursor === '' ? 0 : Number(afterCursor);
      if (afterCursor === '' && tail !== undefined) at = Math.max(owners.logs.length - Number(tail), 0);
      while (!signal.aborted) {
        for (; at < owners.logs.length; at++) {
          const data = Buffer.from(owners.logs[at] ?? '');
          yield StreamLogsResponse.fromPartial({ stream: 'OUTPUT_STREAM_STDOUT', data, cursor: String(at + 1) });
        }
        if (!follow || owners.logEnd) return;
        await sleep(5);
      }
    },
    waitContainer: async ({ afterRun }, { signal }) => {
      owners.afterRuns.push(afterRun);
      while (!owners.waitAnswers && !signal.aborted) await sleep(5);
      return { exitCode: 7, error: '', run: 1n };
    },
  });

const supervisorService = (owners: Owners, shimAddress: string) =>
  implement(SupervisorServiceService, {
    resolveTask: async ({ attachmentId }) => {
      if (attachmentId !== '') owners.attachments.push(attachmentId);
      return ResolveTaskResponse.fromPartial({ containerId, shimAddress, run: 1n, expected: true });
    },
    reportDetach: async (request) => {
      owners.detached.push(request);
      return {};
    },
    startExecProcess: async ({ execId }) => ({
      shimAddress,
      exec: {
        execId,
        containerId,
        running: true,
        pid: 42,
        config: {
          command: ['cat'],
          env: [],
          user: '',
          workingDir: '',
          tty: false,
          stdin: true,
          privileged: false,
          size: undefined,
          detachKeys: '',
        },
      },
    }),
  });

const execService = implement(ExecServiceService, {
  getExec: async ({ execId }) => ({ exec: Exec.fromPartial({ execId, containerId, running: false, exitCode: 3 }) }),
});

/** Echoes input; ends with code 3 at the end of input. */
export const fakeShim = (owners: Owners): Implementation =>
  implement(ShimServiceService, {
    async *attach(requests: AsyncIterable<AttachRequest>) {
      for await (const { message } of requests) {
        if (performance.now() < owners.handsOverUntil) {
          throw new FlotillaError('unavailable', 'another shim takes over', { reason: 'SHIM_REPLACED' });
        }
        if (message?.$case === 'start') {
          yield AttachResponse.fromPartial({ message: { $case: 'started', value: { tty: owners.tty } } });
          const text = `${message.value.execId === '' ? 'init' : 'exec'} expected=${message.value.expected}\n`;
          yield outputOf(text);
        }
        if (message?.$case === 'stdin') yield outputOf(message.value.toString());
        if (message?.$case === 'resize') yield outputOf(`${message.value.rows}x${message.value.columns}`);
        if (message?.$case === 'closeStdin') break;
      }
      yield AttachResponse.fromPartial({ message: { $case: 'ended', value: { exitCode: 3 } } });
    },
  });

function outputOf(text: string) {
  const value = { stream: 'OUTPUT_STREAM_STDOUT' as const, data: Buffer.from(text) };
  return AttachResponse.fromPartial({ message: { $case: 'output', value } });
}

/** Takes chunks and says how many bytes they were. */
export const fakeImages = implement(ImageServiceService, {
  async *loadImages(requests, { signal }) {
    let bytes = 0n;
    for await (const { chunk } of requests) bytes += BigInt(chunk.length);
    const progress = { part: 'all', status: 'done', currentBytes: bytes, totalBytes: bytes };
    yield { event: { $case: 'progress' as const, value: progress }, references: [] };
    if (signal.aborted) throw new Error('aborted');
  },
});
