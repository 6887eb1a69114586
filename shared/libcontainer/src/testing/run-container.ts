// Runs containers as shims would, each in a forked process of one thread (or, as the fallback does, in this one), and
// writes what happened as JSON. A line on standard input names a folder with a scenario; a line says that it is done.
import { closeSync, openSync, readFileSync, readlinkSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { exitNow, isErrno, POLLIN, poll, readFd, waitPidfd, waitpid } from '@flotilla/linux';
import { fork } from '@flotilla/linux/fork';
import type { Process } from '@flotilla/oci';
import { type CreatedInit, createInit, preloadRuntime, startExec } from '../index.ts';
import { toErrorMessage } from '../setup-error.ts';
import type { ExecResult, Result, Scenario } from './scenario.ts';

let scenario: Scenario;

function run(): Result {
  const out = capture('init');
  let init: CreatedInit;
  try {
    init = createInit({
      ...scenario,
      stdio: scenario.terminal ? { kind: 'terminal', size: scenario.terminal } : out.stdio,
    });
  } catch (error) {
    return { ...failed(error), ...out.read() };
  }
  const { warnings, pid } = init;
  try {
    const before = look(pid, scenario.lookBefore ?? []);
    try {
      init.release();
    } catch (error) {
      return { ...failed(error), ...exitOf(init), warnings, before, ...out.read() };
    }
    const execs = (scenario.execs ?? []).map((one, i) => runExec(init, one, i));
    const during = look(pid, scenario.lookDuring ?? []);
    for (const action of scenario.actions ?? []) act(init, action);
    if (scenario.killAfter) init.cgroup.killAll();
    const terminal = init.consoleFd === undefined ? '' : readTerminal(init.consoleFd);
    const exit = exitOf(init);
    const oomKills = init.cgroup.oomKillCount();
    return { ...exit, warnings, before, during, execs, oomKills, terminal, ...out.read() };
  } finally {
    init.kill();
    init.cgroup.killAll();
    init.cgroup.remove();
  }
}

function act(init: CreatedInit, action: NonNullable<Scenario['actions']>[number]): void {
  if (action === 'freeze') init.cgroup.freeze();
  else if (action === 'thaw') init.cgroup.thaw();
  else init.cgroup.update(action);
}

function runExec(
  init: CreatedInit,
  { process, terminal }: { process: Process; terminal?: boolean },
  i: number,
): ExecResult {
  const out = capture(`exec${i}`);
  try {
    const { spec, starter } = scenario;
    const exec = startExec({
      containerPid: init.pid,
      containerPidfd: init.pidfd,
      spec,
      process,
      cgroup: init.cgroup,
      stdio: terminal ? { kind: 'terminal', size: { columns: 81, rows: 25 } } : out.stdio,
      starter,
    });
    const shown = exec.consoleFd === undefined ? '' : readTerminal(exec.consoleFd);
    const exit = waitPidfd(exec.pidfd);
    closeSync(exec.pidfd);
    return { exitCode: exit?.exitCode, terminal: shown, ...out.read() };
  } catch (error) {
    return { ...failed(error), ...out.read() };
  }
}

/** Output goes to files, so that nothing waits for a reader. */
function capture(name: string) {
  const [outFile, errFile] = [`${scenario.bundleDir}/${name}.out`, `${scenario.bundleDir}/${name}.err`];
  const stdio = {
    kind: 'descriptors' as const,
    stdin: openSync('/dev/null', 'r'),
    stdout: openSync(outFile, 'w'),
    stderr: openSync(errFile, 'w'),
  };
  return { stdio, read: () => ({ stdout: readFileSync(outFile, 'utf8'), stderr: readFileSync(errFile, 'utf8') }) };
}

function readTerminal(fd: number): string {
  const buffer = Buffer.alloc(4096);
  let text = '';
  try {
    for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer))
      text += buffer.toString('utf8', 0, length);
  } catch (error) {
    if (!isErrno(error, 'EIO')) throw error; // all of the terminal's own ends are closed
  }
  closeSync(fd);
  return text;
}

function exitOf(init: CreatedInit) {
  const exit = waitPidfd(init.pidfd);
  return { exitCode: exit?.exitCode, signal: exit?.signal };
}

const failed = (error: unknown) => ({ error: toErrorMessage(error) });

function look(pid: number, paths: readonly string[]): Record<string, string> {
  return Object.fromEntries(paths.map((path) => [path, lookAt(path.replace('{pid}', String(pid)))]));
}

function lookAt(path: string): string {
  return /\/(ns\/\w+|root|exe)$/.test(path) ? readlinkSync(path) : readFileSync(path, 'utf8').trim();
}

function runAndWrite(resultFile: string): void {
  let result: Result;
  try {
    result = run();
  } catch (error) {
    result = { ...failed(error), stdout: '', stderr: error instanceof Error ? (error.stack ?? '') : '' };
  }
  writeFileSync(resultFile, JSON.stringify(result));
}

function runFolder(folder: string): void {
  scenario = JSON.parse(readFileSync(`${folder}/scenario.json`, 'utf8')) as Scenario;
  if (scenario.starter === 'spawn' || scenario.threads) {
    runAndWrite(`${folder}/result.json`);
    return;
  }
  const shim = fork();
  if (shim !== 0) {
    waitpid(shim);
    return;
  }
  runAndWrite(`${folder}/result.json`);
  exitNow(0);
}

preloadRuntime();
const line = Buffer.alloc(4096);
for (;;) {
  poll([{ fd: 0, events: POLLIN }], -1);
  const length = readFd(0, line);
  if (length === 0) break;
  if (length === undefined) continue;
  runFolder(line.toString('utf8', 0, length).trim());
  writeSync(1, 'done\n');
}
