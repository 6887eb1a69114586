import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { Command, Option } from 'commander';
import { DockerDaemon } from '../harness/docker-daemon.ts';
import { sweepKilledTests } from '../harness/test-folders.ts';
import { type Cell, runMatrix } from './matrix.ts';
import { hostNamespace, ownNamespace } from './own-names.ts';
import { type RegistryKind, registryKinds } from './registry-kinds.ts';
import { type SampleName, sampleLayout, sampleNames } from './sample-layouts.ts';

const shownDifferences = 5;

const options = new Command('matrix:images')
  .description(
    'Moves images between skopeo, dockerd and the engine over real registries and compares all of them. Needs root.',
  )
  .addOption(new Option('--image <names...>', 'only these').choices(sampleNames).default(sampleNames))
  .addOption(new Option('--registry <kinds...>', 'only these').choices(registryKinds).default(registryKinds))
  .parse()
  .opts<{ image: readonly SampleName[]; registry: readonly RegistryKind[] }>();

if (process.getuid?.() !== 0) throw new Error('only root may unpack layers and run daemons');
const problem = await DockerDaemon.problem();
if (problem !== undefined) throw new Error(`cannot be done here: ${problem}`);

// A registry with TLS gets a name and an authority: in a mount namespace, so that the host's /etc stays what it is.
if (process.env[hostNamespace] === undefined) {
  const args = ['--mount', '--propagation', 'private', process.execPath, ...process.argv.slice(1)];
  const child = spawn('unshare', args, { stdio: 'inherit', env: { ...process.env, [hostNamespace]: ownNamespace() } });
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => child.kill(name));
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exit(code ?? 1);
}

for (const folder of sweepKilledTests()) console.log(`swept what a killed run left: ${folder}`);
const layouts = new Map<string, string>();
for (const name of options.image) layouts.set(name, await sampleLayout(name));
const cells: Cell[] = [];
await runMatrix({
  layouts,
  kinds: options.registry,
  alsoSchema2: true,
  onCell: (cell) => {
    cells.push(cell);
    const { image, registry, way, digests, root, paths } = cell;
    const verdict = digests.length + root.length === 0 ? 'the same' : 'DIFFERS';
    console.log(`${image} ${registry} ${way}: ${verdict} (${paths} paths)`);
    for (const text of [...digests, ...root.slice(0, shownDifferences)]) console.log(`  ${text}`);
    if (root.length > shownDifferences) console.log(`  … and ${root.length - shownDifferences} more paths`);
  },
});
console.table(
  cells.map(({ digests, root, ...cell }) => ({
    ...cell,
    'same digests': digests.length === 0 ? 'yes' : 'NO',
    'same root': root.length === 0 ? 'yes' : 'NO',
  })),
);
process.exitCode = cells.every(({ digests, root }) => digests.length + root.length === 0) ? 0 : 1;
