import { spawn } from 'node:child_process';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Kernel } from './kernel.ts';
import type { Disk } from './root-disk.ts';

/** Old enough to have neither AVX, which is slow in software, nor protection keys, whose emulation V8 trips over. */
const cpu = 'Nehalem';

export interface MachineOptions {
  readonly kernel: Kernel;
  readonly disk: Disk;
  /** Name of a script beside this file, without `.sh`. */
  readonly job: string;
  /** Words for the kernel's command line, which init has as variables. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Values of QEMU's `-drive` besides the root disk: /dev/vdb, /dev/vdc, … */
  readonly drives?: readonly string[];
  /** Called with each line of the console. */
  readonly onLine: (line: string) => void;
  /** The machine is stopped after so long. */
  readonly limitMs: number;
}

/** A machine whose processor QEMU emulates in software: not every host has KVM to lend. */
export interface Machine {
  /** SIGKILL to QEMU: what a power cut is to a computer. */
  cutPower(): void;
  /** Resolves when it is off: `killed` when its power was cut or its time was over. */
  readonly off: Promise<'off' | 'killed'>;
}

/** Boots the machine. Its root disk is as it was built at each boot. */
export function boot({ kernel, disk, job, settings = {}, drives = [], onLine, limitMs }: MachineOptions): Machine {
  const words = ['console=ttyS0', 'quiet', 'panic=-1', 'cgroup_no_v1=all', 'mitigations=off', `VM_JOB=${job}`];
  for (const [name, value] of Object.entries(settings)) words.push(`${name}="${value}"`);
  const root = `file=${disk.disk},format=raw,if=virtio,cache=unsafe,snapshot=on`;
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg,thread=multi', '-cpu', cpu, '-smp', '2', '-m', '1536', '-no-reboot', '-nodefaults'],
      ...['-display', 'none', '-serial', 'stdio'],
      ...[root, ...drives].flatMap((drive) => ['-drive', drive]),
      ...['-kernel', kernel.image, '-initrd', disk.initramfs, '-append', words.join(' ')],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], timeout: limitMs, killSignal: 'SIGKILL' },
  );
  const stop = () => qemu.kill('SIGKILL');
  process.once('exit', stop);
  createInterface({ input: qemu.stdout }).on('line', onLine);
  const { promise: off, resolve, reject } = Promise.withResolvers<'off' | 'killed'>();
  qemu.once('error', reject);
  qemu.once('close', (_code, signal) => {
    process.off('exit', stop);
    resolve(signal === null ? 'off' : 'killed');
  });
  return { cutPower: stop, off };
}
