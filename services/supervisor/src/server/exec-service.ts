import { FlotillaError, invalidField } from '@flotilla/errors';
import { ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { type Implementation, implement } from '@flotilla/rpc';
import type { Engine } from '../domain/engine.ts';
import { createExec, findExec } from '../domain/execs.ts';
import { execToProto } from './to-proto.ts';

/** ExecService but for StartExec, whose streams the api takes to the shim itself. */
export function execService(engine: Engine): Implementation {
  return implement(ExecServiceService, {
    createExec: async ({ container, config }) => {
      if (config === undefined) throw invalidField('config', 'given');
      const { execId } = await createExec(engine, container, config);
      return { execId };
    },
    getExec: async ({ execId }) => ({ exec: execToProto(findExec(engine, execId)) }),
    resizeExec: async ({ execId, size }) => {
      if (size === undefined) throw invalidField('size', 'given');
      const { containerId, state, config } = findExec(engine, execId);
      if (state !== 'running' || !config.tty) {
        const reason = config.tty ? 'EXEC_NOT_RUNNING' : 'NO_TERMINAL';
        throw new FlotillaError('failed_precondition', `exec ${execId} has no terminal now`, {
          reason,
          metadata: { execId },
        });
      }
      await engine.shims.resize(containerId, execId, size);
      return {};
    },
  });
}
