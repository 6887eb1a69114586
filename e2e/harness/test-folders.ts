import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './cache-folder.ts';
import { sweepInstance } from './host-state.ts';

/** Short, because socket paths below it may have 106 bytes at most: unix(7). */
const prefix = '/tmp/fl-e2e-';

/** The folders of an engine that a test starts. */
export interface TestFolders {
  readonly folder: string;
  readonly root: string;
  readonly run: string;
  /** The name that marks what is this engine's in the kernel. */
  readonly instance: string;
}

function foldersIn(folder: string): TestFolders {
  const root = join(folder, 'root');
  const instance = `fl-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;
  return { folder, root, run: join(folder, 'run'), instance };
}

/**
 * Makes folders for an engine and writes down which process they belong to. All engines of tests share one compile cache: to
 * strip types and to compile is the longer half of a first start.
 */
export function makeTestFolders(): TestFolders {
  const folders = foldersIn(mkdtempSync(prefix));
  const compileCache = join(cacheFolder, 'compile');
  for (const path of [compileCache, folders.root]) mkdirSync(path, { recursive: true, mode: 0o700 });
  symlinkSync(compileCache, join(folders.root, 'compile-cache'));
  writeFileSync(join(folders.folder, 'owner'), `${process.pid} ${startTime(process.pid)}`);
  return folders;
}

/** Takes away what tests left that were killed; the folders and network namespaces that it found. */
export function sweepKilledTests(): readonly string[] {
  const swept: string[] = [];
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    const pid = name.match(/^fl-e2e-(\d+)$/)?.[1]; // of harness/other-host.ts
    if (pid === undefined || startTime(Number(pid)) !== '') continue;
    execFileSync('ip', ['netns', 'delete', name]);
    swept.push(name);
  }
  for (const name of readdirSync('/tmp')) {
    const folder = join('/tmp', name);
    if (!folder.startsWith(prefix) || hasLivingOwner(folder)) continue;
    sweepInstance(folder, foldersIn(folder).instance);
    swept.push(folder);
  }
  return swept;
}

function hasLivingOwner(folder: string): boolean {
  try {
    const [pid, time] = readFileSync(join(folder, 'owner'), 'utf8').split(' ');
    return startTime(Number(pid)) === time;
  } catch {
    return false;
  }
}

/** Ticks after boot: proc_pid_stat(5), field 22. Empty when there is no such process. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
