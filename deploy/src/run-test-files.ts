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
}

/** So long a file may take. */
const timeoutMs = 300_000;

/** Runs test files, started in that order, and prints what becomes of each test. */
export async function runTestFiles(
  files: readonly string[],
  { concurrency, env }: TestRunOptions,
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
  for await (const text of events.compose(new spec())) process.stdout.write(String(text));
  return { passed, failed, skipped, seconds };
}
