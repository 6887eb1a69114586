import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, isUnavailable } from '@flotilla/client';
import { hasReason } from '@flotilla/errors';
import { complain, exitCodes } from '../failure.ts';
import { ClientInput } from './client-input.ts';
import { writeOutput } from './output.ts';
import { rawTerminal } from './terminal.ts';

export interface ExecSessionOptions {
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly detach: boolean;
}

/** For how long the engine may be away. */
const patienceMs = 30_000;

/**
 * Starts an exec and carries its streams; returns its exit code, 0 when it is detached. Goes on with it when the engine is
 * restarted meanwhile. One that was lost with its shim ends as one that was killed.
 */
export async function execSession(engine: Engine, execId: string, options: ExecSessionOptions): Promise<number> {
  const { stdin, tty, detach } = options;
  using input = new ClientInput({ stdin, resize: tty && !detach });
  using stack = new DisposableStack();
  let isRaw = false;
  let endsAt: number | undefined;
  for (let resume = false; ; resume = true) {
    const first = { $case: 'start' as const, value: { execId, detach, resume } };
    try {
      for await (const { message } of engine.execs.startExec(input.messages(first))) {
        if (message?.$case === 'started' && detach) return 0;
        if (message?.$case === 'started' && !isRaw) {
          stack.use(await rawTerminal(tty && stdin));
          isRaw = true;
        }
        endsAt = undefined;
        if (message?.$case === 'output') await writeOutput(message.value);
        if (message?.$case === 'exited') return message.value.detached ? 0 : message.value.exitCode;
      }
      return exitCodes.failed;
    } catch (error) {
      if (hasReason(error, 'EXEC_LOST')) {
        complain(error);
        return Number(error.metadata.exitCode);
      }
      endsAt ??= Date.now() + patienceMs;
      if (!isUnavailable(error) || Date.now() > endsAt) throw error;
    }
    await sleep(100);
    input.repeatSize();
  }
}
