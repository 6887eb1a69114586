import process from 'node:process';
import type { GetInfoResponse } from '@flotilla/proto/flotilla/v1/system';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { warn } from '../failure.ts';
import { formatBinarySize } from '../format/human.ts';
import { toProtoJson } from '../format/proto-json.ts';
import { fillTemplate } from '../format/template.ts';

export function infoCommand(): Command {
  return new Command('info')
    .option('-f, --format <format>', 'json or a template')
    .action(async ({ format }: { format?: string }) => {
      const info = await withEngine((engine) => engine.system.getInfo({}));
      if (format === 'json') process.stdout.write(`${JSON.stringify(toProtoJson(info))}\n`);
      else if (format !== undefined) process.stdout.write(`${fillTemplate(format, toProtoJson(info))}\n`);
      else {
        process.stdout.write(formatInfo(info));
        for (const text of info.warnings) warn(text);
      }
    });
}

export function formatInfo(info: GetInfoResponse): string {
  const { containersByState: states } = info;
  const total = Object.values(states).reduce((sum, count) => sum + count, 0);
  const rows: (readonly [name: string, value: string | number])[] = [
    ['Instance', info.instance],
    ['Version', info.version],
    ['Containers', total],
    ...Object.entries(states).map(([state, count]) => [`  ${state}`, count] as const),
    ['Images', info.images],
    ['Snapshotter', info.snapshotter],
    ['Shims start by', info.forkMode || 'unknown'],
    ['Cgroups', info.cgroupMode],
    ['Kernel', info.kernelVersion],
    ['Operating system', info.operatingSystem],
    ['Architecture', info.architecture],
    ['Processors', info.cpus],
    ['Memory', formatBinarySize(info.memoryBytes)],
    ['Name', info.hostname],
    ['Root folder', info.root],
    ['Run folder', info.run],
  ];
  return rows.map(([name, value]) => `${name}: ${value}\n`).join('');
}
