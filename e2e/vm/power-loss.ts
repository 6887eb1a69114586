import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Random } from '../chaos/random.ts';
import { mustRun } from '../harness/run-program.ts';
import { makeFiles } from './files.ts';
import { boot, type Machine } from './machine.ts';
import { parse, type Report } from './power-loss/record.ts';

// Power loss: a machine is killed in the middle of load, boots again from the same disk, and what its engine has then is
// compared with what it had acknowledged, as the host has heard it by the console. `--cycles N --seed S`; a seed gives the same
// load and the same moments, as far as an emulated machine keeps time.
//
// What is lost with the machine: its page cache, that is all that was written and not flushed. Also some of what was sent to the
// disk and not flushed, as a disk with a volatile cache loses it: the disk of a cycle is a qcow2 file over that of the cycle
// before, and where its newest blocks lie QEMU keeps in its own memory for a while, at the latest until the guest flushes. That
// the host's page cache lives on does no harm: for the guest, what QEMU has written to it is on the disk.
const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '3' },
    seed: { type: 'string', default: String(Date.now() % 100_000) },
  },
});
const cycles = Number(values.cycles);
const random = new Random(Number(values.seed));
const bootLimitMs = 15 * 60_000;

const startedAt = performance.now();
const say = (text: string) =>
  console.log(`power loss: ${text} (${((performance.now() - startedAt) / 1000).toFixed(0)} s)`);

const folder = mkdtempSync(join(tmpdir(), 'flotilla-vm-'));
const reports: Report[] = [];

interface Outcome {
  readonly wrong: readonly string[];
  readonly passed: boolean;
}

/** The disk of a cycle: what is written goes into a file of its own. */
async function nextDisk(cycle: number, below: string): Promise<string> {
  const disk = join(folder, `data-${cycle}.qcow2`);
  const format = below.endsWith('.qcow2') ? 'qcow2' : 'raw';
  await mustRun('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', '-b', below, '-F', format, disk]);
  return disk;
}

/** The record so far as a disk for the machine. */
function writeRecord(): string {
  const path = join(folder, 'record');
  const text = Buffer.from(JSON.stringify(reports));
  writeFileSync(path, Buffer.concat([text, Buffer.alloc(2 ** 20 - (text.length % 2 ** 20))]));
  return path;
}

/** Boots, checks, and cuts the power so long after the first acknowledged call; without a time the machine ends by itself. */
async function runCycle(
  files: Awaited<ReturnType<typeof makeFiles>>,
  disk: string,
  cutAfterMs: number | undefined,
): Promise<Outcome> {
  const wrong: string[] = [];
  let passed = false;
  let machine: Machine | undefined;
  let timer: NodeJS.Timeout | undefined;
  const onLine = (line: string): void => {
    const report = parse(line.trim());
    if (report === undefined) console.log(line);
    else reports.push(report);
    if (line.startsWith('WRONG ')) wrong.push(line.slice(6));
    if (line.startsWith('CHECK passed')) passed = true;
    if (report?.kind === 'done' && cutAfterMs !== undefined) {
      timer ??= setTimeout(() => {
        machine?.cutPower();
        say('the power is cut');
      }, cutAfterMs);
    }
  };
  const settings = { VM_SEED: cutAfterMs === undefined ? '0' : String(random.integer(1, 2 ** 30)) };
  const drives = [
    `file=${disk},format=qcow2,if=virtio,cache=writeback`,
    `file=${writeRecord()},format=raw,if=virtio,readonly=on`,
  ];
  machine = boot({ ...files, job: 'power-loss', settings, drives, onLine, limitMs: bootLimitMs });
  const end = await machine.off;
  clearTimeout(timer);
  if (cutAfterMs !== undefined && end === 'off') wrong.push('the machine ended by itself');
  return { wrong, passed };
}

try {
  const files = await makeFiles(folder, say);
  let disk = join(folder, 'data.raw');
  await mustRun('/sbin/mke2fs', ['-q', '-t', 'ext4', disk, '2G']);
  for (let cycle = 1; cycle <= cycles + 1; cycle++) {
    disk = await nextDisk(cycle, disk);
    const before = reports.length;
    const cutAfterMs = cycle > cycles ? undefined : random.integer(5_000, 45_000);
    say(
      `boot ${cycle}, ${cutAfterMs === undefined ? 'the last' : `power for ${cutAfterMs} ms of load`}, seed ${values.seed}`,
    );
    const { wrong, passed } = await runCycle(files, disk, cutAfterMs);
    const acknowledged = reports.slice(before).filter(({ kind }) => kind === 'done').length;
    say(
      `after boot ${cycle} ${passed ? 'all was as acknowledged' : 'something was wrong'}; ${acknowledged} more calls were acknowledged`,
    );
    if (passed && wrong.length === 0) continue;
    process.exitCode = 1;
    break;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
say(process.exitCode === 1 ? 'FAILED' : `${cycles} power cuts, nothing that was acknowledged is lost`);
