import { globSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import process from 'node:process';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** What `npm test` says at its end. */
export interface TestSummary {
  readonly passed: number;
  readonly failed: number;
  /** Name and reason of each test that did not run. */
  readonly skipped: readonly string[];
  /** From the start of its process to its end. */
  readonly seconds: ReadonlyMap<string, number>;
}

export interface TestRunOptions {
  /** So many files at once, each in a process of its own. */
  readonly concurrency: number;
  /** Of each file's process. */
  readonly env: NodeJS.ProcessEnv;
  /** So long a file may take; then it is asked to end, and its hooks run. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 600_000;
/** So long a file has to end once it is out of time. */
const defaultGraceMs = 20_000;

/** Runs test files, started in that order, and prints what becomes of each test. */
export async function runTestFiles(
  files: readonly string[],
  { concurrency, env, timeoutMs = defaultTimeoutMs }: TestRunOptions,
): Promise<TestSummary> {
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  const seconds = new Map<string, number>();
  const events = run({ files: [...files], concurrency, env, timeout: timeoutMs });
  events.on('test:pass', ({ name, skip, details }) => {
    if (skip !== undefined) skipped.push(typeof skip === 'string' ? `${name}: ${skip}` : name);
    else if (details.type !== 'suite') passed += 1;
  });
  events.on('test:fail', ({ details }) => {
    if (details.type !== 'suite') failed += 1;
  });
  events.on('test:summary', ({ file, duration_ms }) => {
    if (file !== undefined) seconds.set(relative(process.cwd(), file), duration_ms / 1000);
  });
  const graceMs = Math.min(timeoutMs, defaultGraceMs);
  const watch = setInterval(endTheStuck, graceMs, new Map(), timeoutMs + graceMs);
  try {
    for await (const text of events.compose(new spec())) process.stdout.write(String(text));
  } finally {
    clearInterval(watch);
  }
  return { passed, failed, skipped, seconds };
}

/**
 * Node waits without end for a file that ran out of time and whose hooks hang, and for whoever holds its output: what has
 * been seen among our children for so long is killed, with what it started.
 */
function endTheStuck(seenSince: Map<number, number>, limitMs: number): void {
  const now = performance.now();
  const pids = childrenOf(process.pid);
  for (const pid of seenSince.keys()) if (!pids.includes(pid)) seenSince.delete(pid);
  for (const pid of pids) if (now - seenSince.getOrInsert(pid, now) > limitMs) killTree(pid);
}

function killTree(pid: number): void {
  for (const child of childrenOf(pid)) killTree(child);
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

/** Of all its threads: proc_pid_task(5). Empty when it has ended. */
function childrenOf(pid: number): number[] {
  return globSync(`/proc/${pid}/task/*/children`).flatMap((path) => {
    try {
      return [...readFileSync(path, 'utf8').matchAll(/\d+/g)].map(([child]) => Number(child));
    } catch {
      return [];
    }
  });
}
