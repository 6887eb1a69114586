import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mustRun } from './run-program.ts';
import type { TestFolders } from './test-folders.ts';
import { waitFor } from './wait.ts';

const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const program = ['/usr/lib/systemd/systemd', '/lib/systemd/systemd'].find((path) => existsSync(path));
const hierarchy = '/sys/fs/cgroup/systemd';

/** Why no service manager can be run here; undefined when one can. */
export function whyNoSystemd(): string | undefined {
  if (program === undefined) return 'systemd is not installed';
  return existsSync(hierarchy) ? undefined : 'no cgroup hierarchy of systemd here';
}

/**
 * A service manager of a test's own, a real systemd for a user, in a mount namespace where the host looks booted by it,
 * with the units of deploy/systemd for the folders of a test.
 */
export class Systemd implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #env: NodeJS.ProcessEnv;
  readonly #group: string;

  private constructor(process: ChildProcess, env: NodeJS.ProcessEnv, group: string) {
    this.#process = process;
    this.#env = env;
    this.#group = group;
  }

  static async start({ folder, root, run }: TestFolders): Promise<Systemd> {
    const env = { ...process.env, HOME: join(folder, 'home'), XDG_RUNTIME_DIR: join(folder, 'xdg') };
    const units = join(env.HOME, '.config/systemd/user');
    for (const path of [units, env.XDG_RUNTIME_DIR, root, run]) mkdirSync(path, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(join(projectRoot, 'deploy/systemd')).filter((one) => one !== 'README.md')) {
      writeFileSync(
        join(units, name),
        adapt(readFileSync(join(projectRoot, 'deploy/systemd', name), 'utf8'), root, run),
      );
    }
    const group = join(hierarchy, `fl-systemd-${process.pid}`);
    mkdirSync(group);
    const script = [
      `echo $$ >${group}/cgroup.procs`,
      'mount --make-rprivate / && mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/system',
      `exec ${program} --user`,
    ].join('\n');
    const child = spawn('unshare', ['--mount', 'sh', '-ec', script], { env, stdio: 'ignore' });
    const systemd = new Systemd(child, env, group);
    await waitFor('systemd listens', () => existsSync(join(env.XDG_RUNTIME_DIR, 'systemd/private')));
    return systemd;
  }

  /** `systemctl ARGS`, which must succeed; its standard output. */
  control(...args: string[]): Promise<string> {
    return mustRun('systemctl', ['--user', '--no-pager', ...args], { env: this.#env, timeoutMs: 120_000 });
  }

  /** A property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.control('show', unit, '--property', name, '--value')).trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await ended;
    await waitFor('its cgroup is empty', () => {
      if (!existsSync(this.#group)) return true;
      try {
        rmdirSync(this.#group);
        return true;
      } catch {
        return false;
      }
    });
  }
}

/** Other folders; and without what hides these, which are in /tmp, or what test hosts that are containers refuse. */
function adapt(unit: string, root: string, run: string): string {
  const left = /^(EnvironmentFile|StateDirectory|RuntimeDirectory|PrivateTmp|ProtectKernelTunables|ProtectKernelLogs)/;
  return unit
    .replaceAll('/opt/flotilla/', `${projectRoot}/`)
    .replaceAll('/var/lib/flotilla', root)
    .replaceAll('/run/flotilla', run)
    .split('\n')
    .filter((line) => !left.test(line))
    .map((line) => (line === '[Service]' ? `${line}\nEnvironment=FLOTILLA_ROOT=${root} FLOTILLA_RUN=${run}` : line))
    .join('\n');
}
