import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChildExit, findProcess } from '@flotilla/linux';

/** Whoever needed it has read it by then. */
const keptMs = 3_600_000;

/**
 * How processes of containers ended that only the reaper of orphans could ask: `<pid>-<start time>.json` with
 * {exitCode, signal?, exitedAtUnixNano}. For kernels that do not tell it by pidfd once the process has been reaped (6.15
 * and later do).
 */
export class ExitFiles {
  readonly #folder: string;
  readonly #instance: string;

  constructor(folder: string, instance: string) {
    this.#folder = folder;
    this.#instance = instance;
  }

  /** Writes one for a zombie that has not been reaped, if it was a container's; takes away those that are old. */
  write({ pid, exitCode, signal }: ChildExit): void {
    const startTime = findProcess(pid)?.startTime;
    if (startTime === undefined || !this.#isContainers(pid)) return;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    this.#sweep();
    const exitedAtUnixNano = String(BigInt(Date.now()) * 1_000_000n);
    const text = JSON.stringify({ exitCode, signal, exitedAtUnixNano });
    writeFileSync(join(this.#folder, `${pid}-${startTime}.json`), `${text}\n`, { mode: 0o600, flush: true });
  }

  /** A zombie is still in its v2 group, though in no v1 group: cgroups(7). On hosts without v2, any may be. */
  #isContainers(pid: number): boolean {
    const line = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
      .split('\n')
      .find((one) => one.startsWith('0::'));
    return line === undefined || line.includes(`/${this.#instance}/`);
  }

  #sweep(): void {
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name);
      if ((statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < Date.now() - keptMs)
        rmSync(path, { force: true });
    }
  }
}
