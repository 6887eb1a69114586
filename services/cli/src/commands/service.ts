import { realpathSync } from 'node:fs';
import process from 'node:process';
import { loadPaths, socketPath } from '@flotilla/config/paths';
import { invalidField } from '@flotilla/errors';
import type { ServiceStatus } from '@flotilla/proto/flotilla/v1/system';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, describe, ExitRequest, exitCodes } from '../failure.ts';
import { parseInteger } from '../flags/number.ts';
import { colour } from '../format/colours.ts';
import { toProtoJson } from '../format/proto-json.ts';
import { renderList } from '../format/table.ts';
import { listKept } from '../service/keeper.ts';
import { findRecordedProcess } from '../service/recorded-process.ts';
import { restartService, serviceNames } from '../service/restart-service.ts';
import { ownRelease, upgradeOrder, upgradeServices } from '../service/upgrade-service.ts';
import { upgradeShims } from '../service/upgrade-shims.ts';

const upgradable = [...upgradeOrder, 'nats', 'keeper'] as const;

const columns = [
  { field: 'Name', title: 'NAME' },
  { field: 'State', title: 'STATE' },
  { field: 'Version', title: 'VERSION' },
  { field: 'Pid', title: 'PID' },
  { field: 'Address', title: 'ADDRESS' },
  { field: 'Error', title: 'ERROR' },
];

export function serviceCommand(): Command {
  const service = new Command('service');
  service
    .command('ls')
    .alias('list')
    .description('Every process of the engine: whether it answers, and its version')
    .option('--format <format>', 'table, json or a template')
    .action(({ format }: { format?: string }) => listServices(format));
  service
    .command('restart')
    .description('Restart processes of the engine, one after the other; containers do not notice')
    .argument('<name...>', serviceNames.join(', '))
    .option('--timeout <seconds>', 'time to be healthy again', '30')
    .action(async (names: string[], { timeout }: { timeout: string }) => {
      const paths = loadPaths();
      const unknown = names.find((name) => !serviceNames.some((one) => one === name));
      if (unknown !== undefined) throw invalidField('service', serviceNames.join(', '), unknown);
      const timeoutMs = parseInteger('--timeout', timeout, 1, 3600) * 1000;
      for (const name of names) {
        const pid = await restartService(paths, name, timeoutMs);
        process.stdout.write(`${name} restarted, pid ${pid}\n`);
      }
    });
  service
    .command('upgrade')
    .description('Replace processes by those of another release, under load; one that cannot run is rolled back')
    .argument('[name]', [...upgradable, 'shim'].join(', '))
    .argument('[container...]', 'for shim: whose; all that run when absent')
    .option('--all', 'every process, one after the other, then the shims, then the keeper')
    .option('--release <folder>', "root folder of the release; this client's own when absent")
    .option('--timeout <seconds>', 'time for the keeper to be back', '60')
    .action(upgrade);
  return service;
}

interface UpgradeFlags {
  readonly all?: boolean;
  readonly release?: string;
  readonly timeout: string;
}

async function upgrade(name: string | undefined, containers: readonly string[], flags: UpgradeFlags): Promise<void> {
  const timeoutMs = parseInteger('--timeout', flags.timeout, 1, 3600) * 1000;
  const releaseDir = realpath(flags.release ?? ownRelease);
  if (name === 'shim') {
    if (flags.release !== undefined) throw invalidField('--release', "absent: a shim is of the launcher's release");
    return upgradeShims(containers);
  }
  if (containers.length > 0) throw invalidField('container', 'given for shim alone', containers[0]);
  if ((name !== undefined) === (flags.all === true))
    throw invalidField('service', 'one name, or --all', name ?? 'neither');
  if (name !== undefined) {
    if (!upgradable.some((one) => one === name))
      throw invalidField('service', [...upgradable, 'shim'].join(', '), name);
    return upgradeServices([name], releaseDir, timeoutMs);
  }
  await upgradeServices(upgradeOrder, releaseDir, timeoutMs);
  await upgradeShims([]);
  await upgradeServices(['keeper'], releaseDir, timeoutMs);
}

function realpath(folder: string): string {
  try {
    return realpathSync(folder);
  } catch (error) {
    throw invalidField('--release', 'a folder', `${folder} (${(error as Error).message})`);
  }
}

/** Also when the api itself is away: then the processes that are recorded are what is known. */
async function listServices(format: string | undefined): Promise<void> {
  const { services, error } = await withEngine((engine) => engine.system.listServices({})).then(
    (answer) => ({ services: answer.services, error: undefined }),
    (failure: unknown) => ({ services: recordedServices(failure), error: failure }),
  );
  await addKeptStatus(services);
  if (format === 'json') process.stdout.write(`${JSON.stringify(toProtoJson({ services }))}\n`);
  else {
    const rows = services.map(rowOf);
    process.stdout.write(renderList({ columns, rows, format }));
  }
  if (error === undefined) return;
  complain(error);
  throw new ExitRequest(exitCodes.failed);
}

/** Of one that is not well the keeper knows what it said of itself, or how it ended. */
async function addKeptStatus(services: ServiceStatus[]): Promise<void> {
  if (services.every(({ healthy }) => healthy)) return;
  const kept = await listKept();
  for (const service of services) {
    const status = kept.get(service.name)?.status ?? '';
    if (!service.healthy && status !== '') service.error = `${status} (${service.error})`;
  }
}

function rowOf({ name, healthy, version, address, error }: ServiceStatus) {
  return {
    Name: name,
    State: healthy ? colour('green', 'healthy') : colour('red', 'unhealthy'),
    Version: version?.version ?? '',
    Pid: version === undefined || version.pid === 0 ? recordedPid(name) : String(version.pid),
    Address: address,
    Error: error,
  };
}

function recordedPid(name: string): string {
  return String(findRecordedProcess(loadPaths().run, name)?.pid ?? '');
}

function recordedServices(failure: unknown): ServiceStatus[] {
  const paths = loadPaths();
  return serviceNames.map((name) => {
    const recorded = findRecordedProcess(paths.run, name);
    const known = recorded === undefined ? 'does not run' : `runs as process ${recorded.pid}; the api cannot be asked`;
    return {
      name,
      address: name === 'nats' ? '' : `unix://${socketPath(paths, name)}`,
      healthy: false,
      error: name === 'api' ? describe(failure) : known,
      version: undefined,
    };
  });
}
