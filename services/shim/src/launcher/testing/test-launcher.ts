import { fileURLToPath } from 'node:url';
import { enterReadOnlyBinary } from '../read-only-binary.ts';
import { templateFlags } from '../template-flags.ts';

// The launcher with a shim of the tests.
const binaryProblem = enterReadOnlyBinary(templateFlags);
const { join } = await import('node:path');
const { exitsDir, loadPaths } = await import('@flotilla/config/paths');
const { runLauncher } = await import('../run-launcher.ts');
await runLauncher({
  loadShim: () => import('./test-shim.ts'),
  warmUp: async (log) => (await import('../rehearse.ts')).rehearse(log),
  shimMain: fileURLToPath(new URL('./test-shim-main.ts', import.meta.url)),
  shimsDir: join(loadPaths().run, 'shims'),
  exitsDir: exitsDir(loadPaths()),
  binaryProblem,
  launchTimeoutMs: 3_000,
});
