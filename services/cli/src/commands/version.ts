import { createRequire } from 'node:module';
import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodes } from '../failure.ts';
import { toProtoJson } from '../format/proto-json.ts';
import { renderTable } from '../format/table.ts';
import { fillTemplate } from '../format/template.ts';

const manifest = createRequire(import.meta.url)('../../package.json') as { version: string };

/** Release of this client. */
export function clientVersion(): string {
  return manifest.version;
}

export function versionCommand(): Command {
  return new Command('version')
    .option('-f, --format <format>', 'json or a template')
    .action(async ({ format }: { format?: string }) => {
      const client = { version: clientVersion(), nodeVersion: process.versions.node };
      const { server, error } = await withEngine((engine) => engine.version.version({})).then(
        (found) => ({ server: found, error: undefined }),
        (failure: unknown) => ({ server: undefined, error: failure }),
      );
      const all = { client, ...(server === undefined ? {} : { server: toProtoJson(server) }) };
      if (format === 'json') process.stdout.write(`${JSON.stringify(all)}\n`);
      else if (format !== undefined) process.stdout.write(`${fillTemplate(format, all)}\n`);
      else {
        const engine = server ?? { version: '-', nodeVersion: '-' };
        process.stdout.write(
          renderTable([
            ['', 'VERSION', 'NODE'],
            ['client', client.version, client.nodeVersion],
            ['engine', engine.version, engine.nodeVersion],
          ]),
        );
      }
      if (error === undefined) return;
      complain(error);
      throw new ExitRequest(exitCodes.failed);
    });
}
