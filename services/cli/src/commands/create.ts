import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { addContainerFlags, type ContainerFlags } from '../flags/container-flags.ts';
import { createContainer, createRequest } from './create-container.ts';

export function createCommand(): Command {
  return addContainerFlags(new Command('create'))
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .action(async (image: string, command: string[], flags: ContainerFlags) => {
      const request = createRequest(image, command, flags, flags.interactive === true);
      await withEngine(async (engine) => {
        const { containerId } = await createContainer(engine, request, flags);
        process.stdout.write(`${containerId}\n`);
      });
    });
}
