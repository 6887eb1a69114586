import process from 'node:process';
import type { FileChangeKind } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';

const letters: Readonly<Partial<Record<FileChangeKind, string>>> = {
  FILE_CHANGE_KIND_ADDED: 'A',
  FILE_CHANGE_KIND_MODIFIED: 'C',
  FILE_CHANGE_KIND_DELETED: 'D',
};

export function diffCommand(): Command {
  return new Command('diff').argument('<container>').action(async (container: string) => {
    const patient = { deadlineMs: Number.POSITIVE_INFINITY };
    const { changes } = await withEngine((engine) => engine.containers.listChanges({ container }, patient));
    process.stdout.write(changes.map(({ kind, path }) => `${letters[kind] ?? '?'} ${path}\n`).join(''));
  });
}
