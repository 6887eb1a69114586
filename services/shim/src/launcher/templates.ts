import { POLLIN, type PollFd } from '@flotilla/linux';
import type { ForkCounts } from '@flotilla/linux/fork';
import type { Logger } from '@flotilla/log';
import type { NamedFds, ShimTask } from './shim-task.ts';
import type { StartedShim, TemplateProcess } from './template-process.ts';
import type { WarmingTemplate } from './warm-template.ts';

/**
 * What shims are forked from. Where somebody waits for this launcher, at first a template that has loaded its code and no
 * more; then the one that rehearses meanwhile, from which shims start faster and share more.
 */
export class Templates {
  readonly #log: Logger;
  #current: TemplateProcess;
  #warming: WarmingTemplate | undefined;
  #retired: TemplateProcess | undefined;

  constructor(log: Logger, first: TemplateProcess, warming?: WarmingTemplate) {
    this.#current = first;
    this.#warming = warming;
    this.#log = log;
  }

  get pid(): number {
    return this.#current.pid;
  }

  get counts(): ForkCounts {
    const { forks = 0, replaced = 0 } = this.#retired?.counts ?? {};
    return { forks: forks + this.#current.counts.forks, replaced: replaced + this.#current.counts.replaced };
  }

  get pollFds(): readonly PollFd[] {
    return this.#warming === undefined ? [] : [{ fd: this.#warming.socketFd, events: POLLIN }];
  }

  forkShim(task: ShimTask, fds: NamedFds): StartedShim {
    return this.#current.forkShim(task, fds);
  }

  /** Whether another template is in use from now on. */
  advance(ready: ReadonlyMap<number, number>): boolean {
    if (this.#warming === undefined || !ready.has(this.#warming.socketFd)) return false;
    const warm = this.#warming.finish();
    this.#warming = undefined;
    if (warm === undefined) {
      this.#log.error({}, 'no template could be warmed up: shims start more slowly');
      return false;
    }
    this.#current.close();
    this.#retired = this.#current;
    this.#current = warm;
    this.#log.info({ templatePid: warm.pid }, 'template is warm');
    return true;
  }
}
