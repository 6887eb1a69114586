import { setTimeout as sleep } from 'node:timers/promises';
import { connectEngine } from '@flotilla/client';
import type { Paths } from '@flotilla/config/paths';
import { FlotillaError, invalidField } from '@flotilla/errors';
import type { ServiceStatus } from '@flotilla/proto/flotilla/v1/system';
import { belongsTo, findRecordedProcess, type RecordedProcess, terminate } from './recorded-process.ts';

/** The processes that can be restarted by name. */
export const serviceNames = ['api', 'image', 'network', 'supervisor', 'launcher', 'nats'] as const;

const pollMs = 50;

/**
 * Ends a process of the engine and waits until its keeper has started another one that is healthy. Returns the new
 * process id. Containers do not notice.
 */
export async function restartService({ run }: Paths, name: string, timeoutMs: number): Promise<number> {
  if (!serviceNames.some((one) => one === name)) throw invalidField('service', serviceNames.join(', '), name);
  if (findRecordedProcess(run, 'keeper') === undefined) {
    throw new FlotillaError('failed_precondition', `no keeper runs for ${run}: nobody would start ${name} again`, {
      reason: 'KEEPER_NOT_RUNNING',
      metadata: { service: name, run },
    });
  }
  const old = findRecordedProcess(run, name);
  if (old !== undefined) {
    if (!belongsTo(run, old.pid)) {
      throw new FlotillaError('failed_precondition', `process ${old.pid} is not the ${name} of ${run}`, {
        reason: 'NOT_OUR_PROCESS',
        metadata: { service: name, pid: String(old.pid) },
      });
    }
    terminate(old);
  }
  return waitForSuccessor(run, name, old, Date.now() + timeoutMs);
}

async function waitForSuccessor(run: string, name: string, old: RecordedProcess | undefined, deadline: number) {
  using engine = connectEngine(undefined, { deadlineMs: 2_500 });
  let last = 'did not end';
  while (Date.now() < deadline) {
    const now = findRecordedProcess(run, name);
    if (old?.isAlive() !== true && now !== undefined && now.pid !== old?.pid) {
      const status = await statusOf(engine, name);
      if (status?.healthy === true) return now.pid;
      last = status === undefined ? 'is not listed' : `is not healthy: ${status.error}`;
    }
    await sleep(pollMs);
  }
  throw new FlotillaError('deadline_exceeded', `service ${name} ${last}`, {
    reason: 'SERVICE_NOT_HEALTHY',
    metadata: { service: name },
  });
}

async function statusOf(engine: ReturnType<typeof connectEngine>, name: string): Promise<ServiceStatus | undefined> {
  try {
    return (await engine.system.listServices({})).services.find((service) => service.name === name);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { name, address: '', healthy: false, error: text, version: undefined };
  }
}
