import process from 'node:process';
import { parseArgs } from 'node:util';
import { loadPaths, type Paths } from '@flotilla/config';
import { removeEmptyCgroups } from '../src/empty-cgroups.ts';
import { runClient } from '../src/engine.ts';
import { instanceFiles } from '../src/instance-files.ts';
import { endProcess, findRecordedProcess, forgetProcess } from '../src/process-record.ts';
import { serviceNames } from '../src/services.ts';

// Stops the services; containers go on, and the next `up` finds them. `--containers` stops those first.
const { values } = parseArgs({ options: { containers: { type: 'boolean', default: false } } });
const say = (text: string) => console.log(`down: ${text}`);

/** Stops every running container; false when that was not possible. */
async function stopContainers(paths: Paths): Promise<boolean> {
  const listed = await runClient(paths, ['ps', '--quiet', '--no-trunc']);
  const ids = listed.stdout.split('\n').filter((line) => line !== '');
  if (listed.exitCode !== 0) console.error(`down: containers cannot be listed: ${listed.stderr.trim()}`);
  if (ids.length === 0) return listed.exitCode === 0;
  const stopped = await runClient(paths, ['stop', ...ids]);
  if (stopped.exitCode !== 0) console.error(`down: ${stopped.stderr.trim()}`);
  else say(`stopped ${ids.length} ${ids.length === 1 ? 'container' : 'containers'}`);
  return stopped.exitCode === 0;
}

/** Stops the keeper, which stops the rest; what an absent keeper left is stopped one by one. */
async function stopServices(paths: Paths): Promise<number> {
  const files = instanceFiles(paths);
  const names = ['keeper', ...serviceNames.toReversed(), 'nats'];
  const running = names.filter((name) => findRecordedProcess(files, name) !== undefined);
  for (const name of names) {
    const found = findRecordedProcess(files, name);
    if (found === undefined) continue;
    const inTime = await endProcess(found, name === 'keeper' ? 75_000 : 10_000);
    if (!inTime) console.error(`down: ${name} did not end in time and was killed`);
    forgetProcess(files, name);
  }
  return running.length;
}

process.umask(0o077);
const paths = loadPaths();
const anyRuns = findRecordedProcess(instanceFiles(paths), 'api') !== undefined;
if (values.containers && anyRuns && !(await stopContainers(paths))) process.exitCode = 1;
if (values.containers && !anyRuns) say('containers cannot be stopped while the engine is down: run up first');
const count = await stopServices(paths);
removeEmptyCgroups(paths.instance);
say(count === 0 ? 'nothing ran' : `stopped ${count} processes of the engine; containers, if any, go on`);
