import { constants, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInit, type Starter } from '@flotilla/libcontainer';
import { O_NONBLOCK, pipe2, waitPidfd } from '@flotilla/linux';
import { createLogger, type Logger } from '@flotilla/log';
import { type Bundle, ownerOnHost } from './bundle.ts';
import { cleanUp } from './clean-up.ts';
import { openLog } from './logs/open-log.ts';
import type { Made } from './made.ts';
import type { Staging } from './output/journaled-pump.ts';
import { Ledger, removeLedger } from './output/ledger.ts';
import { RecordedOutput, removeRecordedOutput } from './output/recorded-output.ts';
import { fifoNames, makeFifos } from './streams/stdio.ts';

/** Makes the container up to its waiting init, and all that its streams need. */
export function makeContainer(bundle: Bundle, starter: Starter): Made {
  const { spec, options, shimDir } = bundle;
  const log = shimLogger(bundle);
  const process = spec.process!;
  const stdio =
    process.terminal === true ? undefined : makeFifos(shimDir, ownerOnHost(spec, process.user), options.openStdin);
  using failed = new DisposableStack();
  failed.defer(() => {
    stdio?.closeAll();
    removeRecordedOutput(shimDir);
    removeLedger(shimDir);
    for (const name of fifoNames) rmSync(join(shimDir, name), { force: true });
  });
  const ledger = failed.use(new Ledger(shimDir));
  const staging = stdio === undefined ? openStaging() : undefined;
  const output = failed.use(openOutput({ bundle, ledger, staging, log }));
  const init = createInit({
    spec,
    containerId: options.containerId,
    bundleDir: shimDir,
    rootfsMounts: options.rootfsMounts,
    stdio: stdio?.container ?? { kind: 'terminal', ...consoleSize(bundle) },
    starter,
  });
  failed.move();
  stdio?.closeContainerSide();
  return { bundle, log, init, ends: stdio?.ends ?? { terminalFd: init.consoleFd }, output, ledger };
}

/** The shim cannot serve: its container goes with it. */
export function undo({ bundle, init, log }: Made): void {
  init.kill();
  if (init.pidfd !== undefined) waitPidfd(init.pidfd);
  cleanUp(bundle, init.cgroup, log);
}

export function shimLogger({ options }: Bundle): Logger {
  return createLogger({ service: 'shim', level: options.logLevel || 'info' }).child({
    containerId: options.containerId,
  });
}

export interface OutputParts {
  readonly bundle: Bundle;
  readonly ledger: Ledger;
  readonly staging: Staging | undefined;
  readonly log: Logger;
}

/** The recorded output of init. */
export function openOutput({ bundle, ledger, staging, log }: OutputParts): RecordedOutput {
  const nonBlockingBufferBytes = Number(bundle.options.log?.nonBlockingBufferBytes ?? 0n);
  const then = nonBlockingBufferBytes > 0 ? 'the oldest of it is dropped' : 'the container is held back until it can';
  const onFailure = (error: unknown) => log.error({ err: error }, `output cannot be logged: ${then}`);
  const driver = openLog(bundle);
  return new RecordedOutput({ dir: bundle.shimDir, ledger, driver, staging, onFailure, nonBlockingBufferBytes });
}

/** A pipe, or, with its reading end given, another writing end of that one. */
export function openStaging(kept?: number): Staging {
  if (kept === undefined) return pipe2(O_NONBLOCK);
  return { readFd: kept, writeFd: openSync(`/proc/self/fd/${kept}`, constants.O_WRONLY | constants.O_NONBLOCK) };
}

function consoleSize({ spec }: Bundle): { size?: { columns: number; rows: number } } {
  const size = spec.process?.consoleSize;
  return size === undefined ? {} : { size: { columns: size.width, rows: size.height } };
}
