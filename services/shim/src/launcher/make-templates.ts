import { getpid } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { PassedDescriptors } from './passed-descriptors.ts';
import { compactTemplate } from './template.ts';
import { forkShims, type ShimBirth, TemplateProcess } from './template-process.ts';
import { Templates } from './templates.ts';
import { enterTemplate, WarmingTemplate, warmUpTemplate } from './warm-template.ts';

export interface TemplatesOptions {
  readonly passed: PassedDescriptors;
  readonly log: Logger;
  /** Does what every shim will do. */
  readonly rehearse: () => Promise<void>;
  /**
   * Somebody waits for this launcher: it rehearses in a process of its own while it serves. Else here, before: then the
   * launcher shares its memory with the template and the shims, 27 MiB.
   */
  readonly isAwaited: boolean;
}

/** Answers in the launcher with its templates, and in each shim with what it is to become. */
export async function makeTemplates({
  passed,
  log,
  rehearse,
  isAwaited,
}: TemplatesOptions): Promise<Templates | ShimBirth> {
  const launcherPid = getpid();
  const { listenFd, stored, standbyFd } = passed;
  const privateFds = [listenFd, ...stored.values(), ...(standbyFd === undefined ? [] : [standbyFd])];
  const warm = async (): Promise<void> => {
    await rehearse();
    await compactTemplate(log);
  };
  if (!isAwaited) await warm();
  const first = TemplateProcess.fork(privateFds);
  if (!(first instanceof TemplateProcess)) {
    enterTemplate(launcherPid);
    return forkShims(first);
  }
  if (!isAwaited) return new Templates(log, first);
  const second = TemplateProcess.fork([...privateFds, first.socketFd]);
  if (second instanceof TemplateProcess) return new Templates(log, first, new WarmingTemplate(second));
  await warmUpTemplate(second, launcherPid, warm);
  return forkShims(second);
}
