import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fetchKernel } from './kernel.ts';
import { buildDisk } from './root-disk.ts';

// Boots a machine whose only cgroup hierarchy is v2, as most hosts have it, brings the whole engine up in it and runs the
// tests of limits there. QEMU emulates the processor in software where the host has no KVM to lend.
const limitMs = 8 * 60_000;
/** Files of e2e/ that run inside; more can be named on the command line. */
const tests = process.argv.length > 2 ? process.argv.slice(2) : ['e2e/cli/limits.test.ts'];

/** Old enough to have neither AVX, which is slow in software, nor protection keys, whose emulation V8 trips over. */
const cpu = 'Nehalem';

const startedAt = performance.now();
const say = (text: string) => console.log(`vm: ${text} (${((performance.now() - startedAt) / 1000).toFixed(0)} s)`);

/** Runs QEMU until it is off; the console goes to standard output, and is looked at for the verdict. */
function boot(kernel: string, initramfs: string, disk: string): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const append = [
    'console=ttyS0',
    'quiet',
    'panic=-1',
    'cgroup_no_v1=all',
    'mitigations=off',
    `VM_TESTS="${tests.join(' ')}"`,
  ];
  const machine = ['-accel', 'tcg,thread=multi', '-cpu', cpu, '-smp', '2', '-m', '1536', '-no-reboot', '-nodefaults'];
  const devices = ['-display', 'none', '-serial', 'stdio', '-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`];
  const boots = ['-kernel', kernel, '-initrd', initramfs, '-append', append.join(' ')];
  const qemu = spawn('qemu-system-x86_64', [...machine, ...devices, ...boots], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  });
  let verdict: string | undefined;
  let unfinished = '';
  qemu.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk);
    unfinished = (unfinished + chunk.toString()).slice(-200);
    verdict = unfinished.match(/VM RESULT: (passed|failed)/)?.[1] ?? verdict;
  });
  qemu.once('error', reject);
  qemu.once('close', (_code, signal) => {
    if (signal !== null) say(`the machine was stopped after ${limitMs / 60_000} minutes`);
    resolve(verdict);
  });
  return promise;
}

const folder = mkdtempSync(join(tmpdir(), 'flotilla-vm-'));
try {
  const kernel = await fetchKernel();
  say(`kernel ${kernel.image}`);
  const init = readFileSync(new URL('init.sh', import.meta.url), 'utf8');
  const { disk, initramfs } = await buildDisk(kernel, folder, init);
  say('disk built, booting');
  const verdict = await boot(kernel.image, initramfs, disk);
  say(`tests on a pure cgroup v2 host: ${verdict ?? 'no verdict'}`);
  if (verdict !== 'passed') process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
