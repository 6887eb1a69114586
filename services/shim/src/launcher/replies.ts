import { FlotillaError, statusNumbers } from '@flotilla/errors';
import {
  LauncherReply,
  type LauncherStateReply,
  type LaunchReply,
} from '@flotilla/proto/flotilla/launcher/v1/launcher';

/** An error as the launcher answers it. What is not a FlotillaError is a bug: its text stays in the log. */
export function toErrorReply(error: unknown): LauncherReply {
  const known =
    error instanceof FlotillaError
      ? error
      : new FlotillaError('internal', "internal error; the launcher's log has it", { reason: 'INTERNAL' });
  return LauncherReply.fromPartial({
    reply: {
      $case: 'error',
      value: {
        code: statusNumbers[known.code],
        message: known.message,
        reason: known.reason,
        metadata: { ...known.metadata },
      },
    },
  });
}

/** The answer to a launch. */
export function toLaunchReply(value: LaunchReply): LauncherReply {
  return LauncherReply.create({ reply: { $case: 'launch', value } });
}

/** The answer to a state request. */
export function toStateReply(value: LauncherStateReply): LauncherReply {
  return LauncherReply.create({ reply: { $case: 'state', value } });
}

/** The answer to a replacement, from a shim's answer to its launch: INTERNAL / SHIM_FAILED but when there is no task. */
export function forReplace(answer: LauncherReply, containerId: string, replacedPid: number): LauncherReply {
  const { reply } = answer;
  if (reply?.$case === 'launch') {
    return LauncherReply.create({
      reply: { $case: 'replace', value: { shimPid: reply.value.shimPid, replacedPid } },
    });
  }
  const { reason = '', message = '' } = reply?.$case === 'error' ? reply.value : {};
  if (reason === 'TASK_NOT_RUNNING' || reason === 'SHIM_FAILED') return answer;
  return toErrorReply(
    new FlotillaError('internal', `the new shim of container ${containerId} could not take over: ${message}`, {
      reason: 'SHIM_FAILED',
      metadata: { containerId, cause: reason },
    }),
  );
}
