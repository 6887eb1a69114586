import { fileURLToPath } from 'node:url';
import { enterReadOnlyBinary } from './launcher/read-only-binary.ts';
import { templateFlags } from './launcher/template-flags.ts';

// The warm template that shims are forked from. First of all, and before much is loaded, into a binary that is safe from
// containers; what follows happens in the process that this has become.
const binaryProblem = enterReadOnlyBinary(templateFlags);

const { join } = await import('node:path');
const { exitsDir, loadPaths } = await import('@flotilla/config/paths');
const { runLauncher } = await import('./launcher/run-launcher.ts');
await runLauncher({
  loadShim: () => import('./shim/run-shim.ts'),
  warmUp: async (log) => (await import('./launcher/rehearse.ts')).rehearse(log),
  shimMain: fileURLToPath(new URL('./shim-main.ts', import.meta.url)),
  shimsDir: join(loadPaths().run, 'shims'),
  exitsDir: exitsDir(loadPaths()),
  binaryProblem,
});
