import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './run-program.ts';
import { waitFor } from './wait.ts';

const journald = '/usr/lib/systemd/systemd-journald';
const rsyslogd = '/usr/sbin/rsyslogd';

/** Why the daemons cannot run here; undefined when they can. */
export function whyNoLogDaemons(): string | undefined {
  const missing = [journald, rsyslogd, '/usr/bin/journalctl', '/etc/machine-id'].filter((path) => !existsSync(path));
  return missing.length === 0 ? undefined : `${missing.join(', ')} missing: Debian packages systemd and rsyslog`;
}

/** systemd-journald in a mount namespace of its own, so that the host's journal has nothing of a test. */
export class Journald implements AsyncDisposable {
  readonly #folder = mkdtempSync('/tmp/fl-jd-');
  #child: ChildProcess | undefined;

  /** Where it takes entries. */
  get socketPath(): string {
    return join(this.#folder, 'run/socket');
  }

  static async start(): Promise<Journald> {
    const daemon = new Journald();
    const folder = daemon.#folder;
    for (const name of ['run', 'log']) mkdirSync(join(folder, name));
    writeFileSync(
      join(folder, 'journald.conf'),
      '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nReadKMsg=no\nAudit=no\nForwardToSyslog=no\nForwardToWall=no\n',
    );
    writeFileSync(
      join(folder, 'start.sh'),
      `set -e
      mount -t tmpfs tmpfs /run
      mkdir -p /run/systemd/journal /run/log/journal /run/systemd/journald.conf.d
      mount --bind ${folder}/run /run/systemd/journal
      mount --bind ${folder}/log /run/log/journal
      cp ${folder}/journald.conf /run/systemd/journald.conf.d/test.conf
      exec ${journald}`,
    );
    await daemon.#start();
    return daemon;
  }

  async #start(): Promise<void> {
    rmSync(this.socketPath, { force: true });
    const script = join(this.#folder, 'start.sh');
    this.#child = spawn('unshare', ['--mount', 'sh', script], { stdio: ['ignore', 'ignore', 'inherit'] });
    await waitFor('journald listens', () => existsSync(this.socketPath));
  }

  /** SIGSTOP or SIGCONT. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child!.kill(name);
  }

  /** Another process in its place. */
  async restart(): Promise<void> {
    await end(this.#child);
    await this.#start();
  }

  /** Entries that match, oldest first. */
  async entries(...matches: readonly string[]): Promise<readonly Record<string, string>[]> {
    return (await this.#read('json', matches)).map((line) => JSON.parse(line) as Record<string, string>);
  }

  /** Text of entries that match, oldest first. */
  messages(...matches: readonly string[]): Promise<readonly string[]> {
    return this.#read('cat', matches);
  }

  async #read(output: string, matches: readonly string[]): Promise<readonly string[]> {
    const machine = readFileSync('/etc/machine-id', 'utf8').trim();
    const args = ['--directory', join(this.#folder, 'log', machine), `--output=${output}`, '--all', ...matches];
    return (await mustRun('/usr/bin/journalctl', [...args, '--no-pager', '--quiet'])).split('\n').filter(Boolean);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGCONT');
    await end(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** rsyslogd with a socket and a file of its own. */
export class Rsyslogd implements AsyncDisposable {
  readonly #folder = mkdtempSync('/tmp/fl-rs-');
  #child: ChildProcess | undefined;

  get socketPath(): string {
    return join(this.#folder, 'log.sock');
  }

  static async start(): Promise<Rsyslogd> {
    const daemon = new Rsyslogd();
    const folder = daemon.#folder;
    const config = join(folder, 'rsyslog.conf');
    writeFileSync(
      config,
      `global(workDirectory="${folder}")
      module(load="imuxsock" SysSock.Use="off")
      input(type="imuxsock" Socket="${daemon.socketPath}" RateLimit.Interval="0" UseSysTimeStamp="off")
      template(name="test" type="string" string="%pri% %programname% %msg%\\n")
      action(type="omfile" file="${folder}/out" template="test")\n`,
    );
    const args = ['-n', '-f', config, '-i', join(folder, 'pid')];
    daemon.#child = spawn(rsyslogd, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    await waitFor('rsyslogd listens', () => existsSync(daemon.socketPath));
    return daemon;
  }

  /** What it wrote: priority, program name, message. */
  lines(): readonly string[] {
    const out = join(this.#folder, 'out');
    return existsSync(out) ? readFileSync(out, 'utf8').split('\n').filter(Boolean) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
