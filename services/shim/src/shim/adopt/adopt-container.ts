import { closeFd } from '@flotilla/linux';
import { findShimRecord } from '../../launcher/shim-record.ts';
import type { Bundle } from '../bundle.ts';
import type { Made } from '../made.ts';
import { openOutput, openStaging, shimLogger } from '../make-container.ts';
import { Ledger } from '../output/ledger.ts';
import type { StreamEnds } from '../streams/stdio.ts';
import { AdoptedInit } from './adopted-init.ts';
import { hasStarted } from './has-started.ts';
import { orphanedExecs } from './orphaned-execs.ts';
import { takeOver } from './take-over.ts';

export interface AdoptOptions {
  readonly bundle: Bundle;
  /** Copies that were kept of the descriptors of the shim before this one, by name: this one's from now on. */
  readonly kept: Readonly<Record<string, number>>;
  /** Process id of a shim that lives and is to be replaced; 0 when it is dead. */
  readonly replaces: number;
}

/** Takes the place of a shim that was killed, or is to go. The event loop runs. */
export async function adoptContainer({ bundle, kept, replaces }: AdoptOptions): Promise<Made> {
  const { shimDir, spec } = bundle;
  const log = shimLogger(bundle);
  const file = findShimRecord(shimDir);
  if (file === undefined) throw new Error(`no shim has made a container in ${shimDir}`);
  const taken = replaces === 0 ? undefined : await takeOver(shimDir, replaces);
  const init = new AdoptedInit(file, spec.linux?.cgroupsPath ?? '', kept.init);
  const ledger = new Ledger(shimDir);
  // Not started, it has no shim to wait for.
  if (!(await hasStarted(init, shimDir, ledger))) {
    ledger.recordNotStarted();
    init.kill();
  }
  const staging = kept.staging === undefined ? undefined : openStaging(kept.staging);
  const output = openOutput({ bundle, ledger, staging, log });
  // Those that are not handed over have ended by now.
  const orphaned = orphanedExecs(bundle, taken?.execs ?? [], log);
  const execs = [...(taken?.execs ?? []), ...orphaned.running];
  const ends = endsOf(merge(kept, taken?.descriptors ?? {}), ledger);
  log.info({ initPid: init.pid, replacedPid: file.pid, execs: execs.length }, 'the container has a new shim');
  return { bundle, log, init, ends, output, ledger, adopted: { execs, endedExecs: orphaned.ended } };
}

/** One copy of each: a second one of its input would keep the end of it from the container. */
function merge(kept: AdoptOptions['kept'], taken: AdoptOptions['kept']): AdoptOptions['kept'] {
  for (const name of Object.keys(taken)) if (kept[name] !== undefined) closeFd(kept[name]);
  return { ...kept, ...taken };
}

function endsOf({ terminal, stdin, stdout, stderr }: AdoptOptions['kept'], { isStdinClosed }: Ledger): StreamEnds {
  if (stdin !== undefined && isStdinClosed) closeFd(stdin);
  return { terminalFd: terminal, stdinFd: isStdinClosed ? undefined : stdin, stdoutFd: stdout, stderrFd: stderr };
}
