import { duplicateFd, nowUnixNano } from '@flotilla/linux';
import { findExitRecord } from '../exit-record.ts';
import type { Made } from '../made.ts';
import { unknownExit, untilGone, untilKnown } from './adopted-exit.ts';
import { findReaped } from './reaped-exit.ts';

type OnExit = (exit: { readonly exitCode: number; readonly signal: number | undefined }, atUnixNano: bigint) => void;

/**
 * Sees the end of an init that is no child of this process. How it ended the kernel says, or the launcher, which reaps it
 * and writes it down, or the keeper; else nobody does.
 */
export async function watchAdoptedInit({ init, bundle, ledger, log }: Made, onExit: OnExit): Promise<void> {
  const { stateDir, run } = bundle.options;
  const recorded = () => {
    const record = findExitRecord(stateDir);
    return record?.run === run ? record : undefined;
  };
  if (init.pidfd === undefined && ledger.startedAtUnixNano === 0n) return onExit(unknownExit, nowUnixNano());
  const findRecord = () => recorded() ?? findReaped(init.pid, init.startTime);
  const told = init.pidfd === undefined ? undefined : await untilGone(duplicateFd(init.pidfd), findRecord);
  const record = told === undefined ? await untilKnown(findRecord) : findRecord();
  const exit = told ?? record;
  if (exit === undefined) log.error({ initPid: init.pid }, 'nobody knows how the container ended');
  const { exitCode, signal } = exit ?? unknownExit;
  onExit({ exitCode, signal }, record?.exitedAtUnixNano ?? nowUnixNano());
}
