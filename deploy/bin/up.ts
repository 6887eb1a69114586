import process from 'node:process';
import { parseArgs } from 'node:util';
import { loadPaths, type Paths, socketPath } from '@flotilla/config';
import { FlotillaError } from '@flotilla/errors';
import { demoChanges, demoReference, withDemoRoot } from '../src/demo-image.ts';
import { ensureKeeper, type Finished, runClient, waitUntilHealthy } from '../src/engine.ts';
import { instanceFiles } from '../src/instance-files.ts';
import { logTail } from '../src/log-tail.ts';

// Starts the engine in the background, waits until it is healthy, and shows that it works by running a container.
// Safe to repeat: what runs already is left alone. `--wait SECONDS` gives a slow machine more time than a minute.
const { values } = parseArgs({ options: { wait: { type: 'string', default: '60' } } });
const healthyWithinMs = Number(values.wait) * 1000;
const startedAt = performance.now();
const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
const say = (text: string) => console.log(`up: ${text}`);

/** Failure text for the user, with the log lines that may tell why. */
function failure(message: string, logFiles: readonly string[]): FlotillaError {
  const tails = logFiles.flatMap((file) => [`--- end of ${file}`, ...logTail(file, 15)]);
  return new FlotillaError('internal', [message, ...tails].join('\n'), { reason: 'UP_FAILED' });
}

async function startServices(paths: Paths): Promise<boolean> {
  const files = instanceFiles(paths);
  const { keeper, started } = await ensureKeeper(paths).catch((cause: Error) => {
    throw failure(cause.message, [files.logFile('keeper')]);
  });
  say(started ? `keeper started, pid ${keeper.pid}` : `keeper runs already, pid ${keeper.pid}`);
  const services = await waitUntilHealthy(paths, {
    timeoutMs: healthyWithinMs,
    onHealthy: ({ name, address }) => say(`${name} is healthy at ${address} (${seconds()})`),
  });
  const ill = services.filter(({ healthy }) => !healthy);
  if (ill.length > 0) {
    const reasons = ill.map(({ name, error }) => `${name} is not healthy: ${error}`);
    throw failure(
      reasons.join('\n'),
      ill.map(({ name }) => files.logFile(name)),
    );
  }
  return started;
}

async function client(paths: Paths, ...args: string[]): Promise<Finished> {
  const finished = await runClient(paths, args);
  if (finished.exitCode === 0) return finished;
  const message = `flotilla ${args.join(' ')} ended with ${finished.exitCode}: ${finished.stderr.trim()}`;
  throw failure(
    message,
    ['api', 'supervisor', 'launcher'].map((name) => instanceFiles(paths).logFile(name)),
  );
}

/** The references in the store, one a line. */
async function listReferences(paths: Paths): Promise<readonly string[]> {
  const { stdout } = await client(paths, 'images', '--format', '{{.Repository}}:{{.Tag}}');
  return stdout.split('\n').filter((line) => line !== '');
}

async function importDemoImage(paths: Paths): Promise<boolean> {
  const references = await listReferences(paths);
  if (references.includes(demoReference)) return false;
  if (references.length > 0) return false;
  await withDemoRoot((tarPath) => {
    const changes = demoChanges.flatMap((change) => ['--change', change]);
    return client(paths, 'import', ...changes, tarPath, demoReference);
  });
  say(`imported ${demoReference} (${seconds()})`);
  return true;
}

async function runDemo(paths: Paths): Promise<void> {
  const references = await listReferences(paths);
  if (!references.includes(demoReference)) {
    say(`no container was run: the store has images, but not ${demoReference}`);
    return;
  }
  const script = 'echo "hello from container $(hostname), pid $$, on Linux $(uname -r)"';
  const { stdout } = await client(paths, 'run', '--rm', demoReference, 'sh', '-c', script);
  if (!stdout.startsWith('hello from container')) throw failure(`the container said: ${JSON.stringify(stdout)}`, []);
  say(`a container said: ${stdout.trim()} (${seconds()})`);
}

async function up(): Promise<void> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new FlotillaError('permission_denied', 'only root on Linux may start the engine', { reason: 'NOT_ROOT' });
  }
  if (!(healthyWithinMs > 0)) {
    throw new FlotillaError('invalid_argument', `--wait: expected seconds, got ${values.wait}`, {
      reason: 'INVALID_FIELD',
    });
  }
  process.umask(0o077);
  const paths = loadPaths();
  const started = await startServices(paths);
  const imported = await importDemoImage(paths);
  await runDemo(paths);
  say(`sockets are in ${paths.run}, the public one is ${socketPath(paths, 'api')}; logs are in ${paths.root}/log`);
  say(started || imported ? 'the engine is up' : 'the engine was up already: nothing was changed');
}

try {
  await up();
} catch (error) {
  if (!(error instanceof FlotillaError)) throw error;
  console.error(`up: ${error.message}`);
  process.exitCode = 1;
}
