import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../harness/cache-folder.ts';
import { mustRun, runProgram } from '../harness/run-program.ts';
import { type Kernel, moduleFiles } from './kernel.ts';

/** The machine has the project at the same path: what is compiled is cached by path. */
const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
/** Programs of the host that the engine and its tests use, besides busybox's. */
const programs = ['nats-server', 'tar', 'ip', 'nft', 'bash'];
const libraries = ['libseccomp.so.2', 'libnftables.so.1'];
const bootModules = ['virtio_pci', 'virtio_blk'];
const engineModules = [
  'overlay',
  'veth',
  'bridge',
  'br_netfilter',
  'nf_tables',
  'nft_ct',
  'nft_nat',
  'nft_masq',
  'nft_redir',
];
const filterModules = [
  'nft_chain_nat',
  'nft_reject_inet',
  'nft_fib_inet',
  'nft_log',
  'nft_limit',
  'nf_conntrack_netlink',
];
const busybox = '/bin/busybox';

/** Files for QEMU: an initramfs that finds the disk, and the disk with the project on it. */
export interface Disk {
  readonly initramfs: string;
  readonly disk: string;
}

/** Builds both in a folder. */
export async function buildDisk(kernel: Kernel, folder: string): Promise<Disk> {
  const root = mkdtempSync(join(folder, 'root-'));
  for (const name of [
    'bin',
    'dev',
    'etc',
    'lib/modules',
    'proc',
    'root',
    'run',
    'sys',
    'tmp',
    'usr/bin',
    'usr/sbin',
    'var/lib',
  ]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  await installBusybox(root);
  for (const program of programs) {
    const path = await which(program);
    rmSync(join(root, path), { force: true }); // busybox's, which knows fewer options
    await copyWithLibraries(path, root);
  }
  for (const library of libraries) await copyWithLibraries(await findLibrary(library), root);
  await copyProject(root);
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  writeFileSync(join(root, 'etc/os-release'), 'PRETTY_NAME="Flotilla test machine"\n');
  writeFileSync(join(root, 'etc/resolv.conf'), '');
  const modules = moduleFiles(kernel, [...engineModules, ...filterModules]);
  copyModules(modules, join(root, 'lib/modules'));
  cpSync(fileURLToPath(new URL('init.sh', import.meta.url)), join(root, 'sbin-init'));

  const disk = join(folder, 'disk.ext4');
  await mustRun('/sbin/mke2fs', ['-q', '-t', 'ext4', '-d', root, '-O', '^has_journal', disk, '1500M'], {
    timeoutMs: 120_000,
  });
  rmSync(root, { recursive: true });
  return { disk, initramfs: await buildInitramfs(kernel, folder) };
}

async function installBusybox(root: string): Promise<void> {
  cpSync(busybox, join(root, 'bin/busybox'));
  const commands = (await mustRun(busybox, ['--list'])).trim().split('\n');
  for (const command of commands) if (command !== 'busybox') symlinkSync('busybox', join(root, 'bin', command));
}

async function which(program: string): Promise<string> {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`;
  return (
    await mustRun('sh', ['-c', 'command -v "$1"', 'sh', program], { env: { ...process.env, PATH: path } })
  ).trim();
}

async function findLibrary(name: string): Promise<string> {
  const cache = await mustRun('/sbin/ldconfig', ['-p']);
  const path = cache
    .split('\n')
    .find((line) => line.trim().startsWith(`${name} `))
    ?.split(' => ')[1];
  if (path === undefined) throw new Error(`the host has no ${name}`);
  return path;
}

/** Copies a program or library and all that ldd says it needs, to the same paths. */
async function copyWithLibraries(path: string, root: string): Promise<void> {
  const { stdout } = await runProgram('ldd', [path]);
  const needed = [...stdout.matchAll(/(?:=> |^\s+)(\/\S+)/gm)].map((found) => found[1] ?? '');
  for (const file of [path, ...needed]) {
    const target = join(root, file);
    if (existsSync(target)) continue;
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(file, target);
  }
}

/** The project's own files, and of node_modules what runs need. */
async function copyProject(root: string): Promise<void> {
  const target = join(root, projectRoot);
  const at = { cwd: projectRoot };
  const listed = await mustRun('git', ['ls-files', '--cached', '--others', '--exclude-standard'], at);
  const own = listed.split('\n').filter((file) => file !== '' && existsSync(join(projectRoot, file)));
  // npm also says what it has to complain of by its exit code; what it lists is right all the same.
  const { stdout: packages, stderr } = await runProgram('npm', ['ls', '--omit=dev', '--all', '--parseable'], at);
  if (!packages.includes('/node_modules/koffi')) throw new Error(`npm does not list what runs need: ${stderr}`);
  const inModules = packages
    .split('\n')
    .filter((path) => path.startsWith(projectRoot) && path.includes('/node_modules/'))
    .filter((path) => !/\/node-linux-|\/@flotilla\//.test(path))
    .map((path) => path.slice(projectRoot.length + 1));
  const node = [
    `node_modules/node-linux-${process.arch}/bin/node`,
    `node_modules/node-linux-${process.arch}/package.json`,
  ];
  for (const file of [...own, ...inModules, ...node, 'proto/gen']) {
    cpSync(join(projectRoot, file), join(target, file), { recursive: true, verbatimSymlinks: true });
  }
  cpSync(join(projectRoot, 'node_modules/@flotilla'), join(target, 'node_modules/@flotilla'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  await copyWithLibraries(join(projectRoot, node[0] ?? ''), root);
  symlinkSync(projectRoot, join(root, 'flotilla'));
  // What the host has compiled: to strip types is work for WebAssembly, which in an emulated processor takes minutes and at
  // times ends V8.
  const compiled = join(cacheFolder, 'compile');
  if (existsSync(compiled)) cpSync(compiled, join(root, compiled), { recursive: true });
}

/** Numbered in the order of loading, for a loop over a sorted list. */
function copyModules(files: readonly string[], target: string): void {
  for (const [i, file] of files.entries()) cpSync(file, join(target, `${String(i).padStart(3, '0')}.ko`));
}

async function buildInitramfs(kernel: Kernel, folder: string): Promise<string> {
  const root = mkdtempSync(join(folder, 'initramfs-'));
  for (const name of ['bin', 'dev', 'modules', 'root']) mkdirSync(join(root, name));
  await installBusybox(root);
  copyModules(moduleFiles(kernel, bootModules), join(root, 'modules'));
  const script = [
    '#!/bin/sh',
    'mount -t devtmpfs none /dev',
    'for module in /modules/*.ko; do insmod "$module"; done',
    'until mount -t ext4 /dev/vda /root 2>/dev/null; do usleep 20000; done',
    'umount /dev',
    'exec switch_root /root /sbin-init',
  ];
  writeFileSync(join(root, 'init'), `${script.join('\n')}\n`, { mode: 0o755 });
  const file = join(folder, 'initramfs.cpio');
  await mustRun('sh', ['-c', 'find . | cpio --quiet --create --format=newc >"$1"', 'sh', file], { cwd: root });
  rmSync(root, { recursive: true });
  return file;
}
