import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { createLogger } from '@flotilla/log';
import { SupervisorServiceService } from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { implement, serve } from '@flotilla/rpc';
import { ReportRecorder } from '../testing/report-recorder.ts';
import { ExitReporter } from './exit-reporter.ts';

const log = createLogger({ service: 'shim', level: 'silent' });
const exec = (execId: string) => ({ containerId: 'c', execId, exitCode: 0, exitedAtUnixNano: 1n });
const task = { containerId: 'c', run: 1n, exitCode: 3, oomKilled: false, exitedAtUnixNano: 2n };

async function withSocket(work: (socketPath: string, reporter: ExitReporter) => Promise<void>): Promise<void> {
  const folder = mkdtempSync('/tmp/fl-report-');
  const socketPath = join(folder, 's');
  try {
    using reporter = new ExitReporter(`unix://${socketPath}`, log);
    await work(socketPath, reporter);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('reports wait for a supervisor and arrive in order, each once', async () => {
  await withSocket(async (socketPath, reporter) => {
    const all = Promise.all([
      reporter.reportExec(exec('a')),
      reporter.reportExec(exec('b')),
      reporter.reportTask(task),
    ]);
    await sleep(150);
    await using recorder = new ReportRecorder();
    await recorder.listen(socketPath);
    await all;
    assert.deepEqual(recorder.reports, [exec('a'), exec('b'), task]);
  });
});

test('a report is sent again until the supervisor has stored it; one that nobody wants is not', async () => {
  await withSocket(async (socketPath, reporter) => {
    let asked = 0;
    const implementation = implement(SupervisorServiceService, {
      reportTaskExit: async () => {
        if (++asked < 3) throw new FlotillaError('unavailable', 'the disk is full', { reason: 'STORE_FULL' });
        throw new FlotillaError('not_found', 'no such container', { reason: 'CONTAINER_NOT_FOUND' });
      },
    });
    await using _server = await serve({ socketPath, implementations: [implementation], service: 'supervisor', log });
    await reporter.reportTask(task);
    assert.equal(asked, 3);
  });
});

test('a reporter that gives up lets go at once', async () => {
  await withSocket(async (_, reporter) => {
    const reported = reporter.reportTask(task);
    await sleep(20);
    reporter[Symbol.dispose]();
    await reported;
  });
});
