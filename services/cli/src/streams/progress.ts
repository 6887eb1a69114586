import process from 'node:process';
import type { TransferProgress } from '@flotilla/proto/flotilla/v1/image';
import type { MultiBar, SingleBar } from 'cli-progress';
import { ellipsis, formatSize } from '../format/human.ts';

/** Shows how far the parts of a transfer have come. */
export interface ProgressView extends Disposable {
  show(progress: TransferProgress): void;
}

/** Bars on a terminal; elsewhere nothing, so that logs stay short; `quiet` is for those who do not want to see it. */
export async function openProgress(quiet: boolean): Promise<ProgressView> {
  if (quiet || process.stderr.isTTY !== true) return { show() {}, [Symbol.dispose]() {} };
  const { default: cliProgress } = await import('cli-progress');
  const bars = new cliProgress.MultiBar(
    { format: '{part} {status} [{bar}] {size}', hideCursor: true, clearOnComplete: false, stream: process.stderr },
    cliProgress.Presets.legacy,
  );
  return barsView(bars);
}

function barsView(bars: MultiBar): ProgressView {
  const byPart = new Map<string, SingleBar>();
  return {
    show({ part, status, currentBytes, totalBytes }) {
      const total = Number(totalBytes) || Math.max(Number(currentBytes), 1);
      const payload = {
        part: ellipsis(part, 24).padEnd(24),
        status: status.padEnd(10),
        size: formatSize(currentBytes),
      };
      const bar = byPart.get(part) ?? bars.create(total, 0, payload);
      byPart.set(part, bar);
      bar.setTotal(total);
      bar.update(Number(currentBytes), payload);
    },
    [Symbol.dispose]: () => bars.stop(),
  };
}
