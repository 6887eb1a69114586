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

/** When the power is cut: so long after the first acknowledged call, after the engine's first process, or never. */
type Cut = { readonly after: 'load' | 'start'; readonly ms: number } | undefined;

/** Boots, checks, makes load. */
async function runBoot(files: Awaited<ReturnType<typeof makeFiles>>, disk: string, cut: Cut): Promise<Outcome> {
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
    const begins = cut?.after === 'load' ? report?.kind === 'done' : line.startsWith('up: keeper started');
    if (cut === undefined || !begins) return;
    timer ??= setTimeout(() => {
      say('the power is cut');
      machine?.cutPower();
    }, cut.ms);
  };
  const settings = {
    VM_SEED: cut?.after === 'load' ? String(random.integer(1, 2 ** 30)) : '0',
    VM_WRITE_AFTER: String(random.pick([100, 3_000])),
  };
  const drives = [
    `file=${disk},format=qcow2,if=virtio,cache=writeback`,
    `file=${writeRecord()},format=raw,if=virtio,readonly=on`,
  ];
  machine = boot({ ...files, job: 'power-loss', settings, drives, onLine, limitMs: bootLimitMs });
  const end = await machine.off;
  clearTimeout(timer);
  if (cut?.after === 'load' && end === 'off') wrong.push('the machine ended by itself');
  return { wrong, passed };
}

/** In the middle of load, and once also while the engine starts again what the cut before has ended. */
function planCuts(): readonly Cut[] {
  const inLoad = Array.from({ length: cycles }, (): Cut => ({ after: 'load', ms: random.integer(15_000, 60_000) }));
  const [first, ...others] = inLoad;
  return [first, { after: 'start', ms: random.integer(20_000, 90_000) }, ...others, undefined];
}

try {
  const files = await makeFiles(folder, say);
  let disk = join(folder, 'data.raw');
  await mustRun('/sbin/mke2fs', ['-q', '-t', 'ext4', disk, '2G']);
  for (const [i, cut] of planCuts().entries()) {
    disk = await nextDisk(i, disk);
    const before = reports.length;
    say(cut === undefined ? 'the last boot' : `boot ${i + 1}, power for ${cut.ms} ms from the ${cut.after} on`);
    const { wrong, passed } = await runBoot(files, disk, cut);
    const acknowledged = reports.slice(before).filter(({ kind }) => kind === 'done').length;
    const found = passed ? 'all was as acknowledged' : 'all was not as acknowledged, or not looked at';
    say(`boot ${i + 1}: ${found}; then ${acknowledged} more calls were acknowledged`);
    if (wrong.length === 0 && (passed || cut?.after === 'start')) continue;
    process.exitCode = 1;
    break;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const total = reports.filter(({ kind }) => kind === 'done').length;
say(
  process.exitCode === 1
    ? `FAILED, seed ${values.seed}`
    : `of ${total} acknowledged calls nothing is lost, seed ${values.seed}`,
);
