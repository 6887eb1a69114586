import type { TestEvent } from 'node:test/reporters';

/** What `npm test` says at its end about one run of the test runner. */
export interface TestSummary {
  readonly passed: number;
  readonly failed: number;
  /** Name and reason of each test that did not run. */
  readonly skipped: readonly string[];
}

/** A reporter for node:test that writes a TestSummary as JSON. */
// biome-ignore lint/style/noDefaultExport: node:test takes a reporter's default export
export default async function* summarise(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  for await (const { type, data } of events) {
    if (type === 'test:pass' && data.skip !== undefined) {
      skipped.push(typeof data.skip === 'string' ? `${data.name}: ${data.skip}` : data.name);
    } else if (type === 'test:pass' && data.details.type !== 'suite') passed += 1;
    else if (type === 'test:fail' && data.details.type !== 'suite') failed += 1;
  }
  yield JSON.stringify({ passed, failed, skipped } satisfies TestSummary);
}
