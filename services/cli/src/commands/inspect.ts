import process from 'node:process';
import type { Engine } from '@flotilla/client';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodes } from '../failure.ts';
import { printInspected } from '../format/inspected.ts';
import { toProtoJson } from '../format/proto-json.ts';
import { volumeDocument } from '../format/volumes.ts';

type Find = (engine: Engine, name: string) => Promise<unknown>;

/** How each type is looked up, as proto3 JSON; in the order in which a bare name is tried. */
const finders: Readonly<Record<string, Find>> = {
  container: async (engine, container) =>
    toProtoJson((await engine.containers.getContainer({ container })).container ?? {}),
  image: async (engine, image) => toProtoJson((await engine.images.getImage({ image, platform: '' })).image ?? {}),
  network: async (engine, network) => toProtoJson((await engine.networks.getNetwork({ network })).network ?? {}),
  volume: async (engine, name) => {
    const { volume } = await engine.volumes.getVolume({ name });
    return volume === undefined ? {} : volumeDocument(volume);
  },
};

export function inspectCommand(): Command {
  return new Command('inspect')
    .argument('<name...>')
    .option('-f, --format <format>', 'json or a template')
    .option('--type <type>', Object.keys(finders).join(', '))
    .action(async (names: string[], { format, type }: { format?: string; type?: string }) => {
      if (type !== undefined && finders[type] === undefined) {
        throw invalidField('--type', Object.keys(finders).join(', '), type);
      }
      await inspect(names, type === undefined ? Object.keys(finders) : [type], format);
    });
}

/** Prints what was found as one JSON array, complains of what was not, and then ends with exit code 1. */
export async function inspect(names: readonly string[], types: readonly string[], format?: string): Promise<void> {
  await withEngine(async (engine) => {
    const found: unknown[] = [];
    const errors: unknown[] = [];
    for (const name of names) {
      await findFirst(engine, name, types).then(
        (value) => found.push(value),
        (error: unknown) => errors.push(error),
      );
    }
    process.stdout.write(printInspected(found, format));
    for (const error of errors) complain(error);
    if (errors.length > 0) throw new ExitRequest(exitCodes.failed);
  });
}

async function findFirst(engine: Engine, name: string, types: readonly string[]): Promise<unknown> {
  for (const type of types) {
    try {
      return await finders[type]?.(engine, name);
    } catch (error) {
      const missing = error instanceof FlotillaError && ['not_found', 'invalid_argument'].includes(error.code);
      if (!missing || types.length === 1) throw error;
    }
  }
  throw new FlotillaError('not_found', `no such object: ${name}`, { reason: 'OBJECT_NOT_FOUND', metadata: { name } });
}
