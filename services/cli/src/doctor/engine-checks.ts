import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import type { GetInfoResponse, ServiceStatus } from '@flotilla/proto/flotilla/v1/system';
import { withEngine } from '../engine.ts';
import { describe } from '../failure.ts';
import { listKept } from '../service/keeper.ts';
import { type Check, ok, problem, warning } from './check.ts';

/** What the engine says of itself, or that it cannot be asked. */
export async function checkEngine(): Promise<Check[]> {
  try {
    return await withEngine(async (engine) => {
      const [info, { services }] = await Promise.all([engine.system.getInfo({}), engine.system.listServices({})]);
      const kept = services.every(({ healthy }) => healthy) ? undefined : await listKept();
      const checks = services.map((service) => checkService(service, kept?.get(service.name)?.status));
      return [...checks, checkForkMode(info)];
    });
  } catch (error) {
    return [
      problem('engine', describe(error), "start it: npm run up; its logs are in FLOTILLA_ROOT's folder log"),
      checkNatsServer(),
    ];
  }
}

function checkService({ name, healthy, error, address, version }: ServiceStatus, status = ''): Check {
  if (healthy) return ok(`service ${name}`, `${version?.version ?? ''} at ${address}`.trim());
  // What it said of itself says more than that it does not answer.
  return problem(
    `service ${name}`,
    status === '' ? error : `${status} (${error})`,
    `its keeper starts it again; see FLOTILLA_ROOT/log/${name}.log`,
  );
}

function checkForkMode({ forkMode }: GetInfoResponse): Check {
  if (forkMode === 'fork') return ok('shims', 'forked from a warm process');
  if (forkMode === '') return warning('shims', 'unknown: the launcher was not asked yet', 'see its service');
  return warning(
    'shims',
    'started anew each: slower and larger',
    'the log of the launcher says why a fork does not work here',
  );
}

function checkNatsServer(): Check {
  if ((process.env.FLOTILLA_NATS_URL ?? '') !== '') return ok('NATS', 'another server, by FLOTILLA_NATS_URL');
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin'];
  const found = folders.map((folder) => join(folder, 'nats-server')).find((path) => existsSync(path));
  if (found !== undefined) return ok('NATS', found);
  return problem('NATS', 'nats-server is not installed', 'apt-get install nats-server, or set FLOTILLA_NATS_URL');
}
