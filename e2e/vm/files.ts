import { Engine } from '../harness/engine.ts';
import { fetchKernel, type Kernel } from './kernel.ts';
import { buildDisk, type Disk } from './root-disk.ts';

/** Kernel and root disk of the machine, in a folder. `say` hears of each step. */
export async function makeFiles(
  folder: string,
  say: (text: string) => void,
): Promise<{ readonly kernel: Kernel; readonly disk: Disk }> {
  const kernel = await fetchKernel();
  say(`kernel ${kernel.image}`);
  // For the compile cache that all engines of tests share: without it a start takes minutes in the machine.
  await (await Engine.start())[Symbol.asyncDispose]();
  const disk = await buildDisk(kernel, folder);
  say('disk built');
  return { kernel, disk };
}
