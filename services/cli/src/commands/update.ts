import process from 'node:process';
import { invalidField } from '@flotilla/errors';
import { Resources } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { forEachNamed, withEngine } from '../engine.ts';
import { buildResources } from '../flags/container-config.ts';
import { addChangeableFlags, type ContainerFlags } from '../flags/container-flags.ts';
import { parseRestartPolicy } from '../flags/policies.ts';

export function updateCommand(): Command {
  return addChangeableFlags(new Command('update'))
    .argument('<container...>')
    .action(async (names: string[], flags: ContainerFlags) => {
      const { restart, ...limits } = flags;
      if (Object.keys(flags).length === 0) throw invalidField('update', 'at least one flag that says what to change');
      const resources = Object.keys(limits).length === 0 ? undefined : Resources.fromPartial(buildResources(limits));
      const restartPolicy = restart === undefined ? undefined : parseRestartPolicy(restart);
      await withEngine((engine) =>
        forEachNamed(names, async (container) => {
          const { warnings } = await engine.containers.updateContainer({ container, resources, restartPolicy });
          for (const warning of warnings) process.stderr.write(`WARNING: ${warning}\n`);
        }),
      );
    });
}
