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
