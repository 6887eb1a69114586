import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { readHierarchies } from './cgroup/hierarchies.ts';
import type { Starter } from './index.ts';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const hierarchies = skipRoot === false ? readHierarchies() : [];
const unified = hierarchies.find(({ version }) => version === 2);
// Of a host with nothing else the group's limits are in it, too, and its loss is met where they are set.
const isHybrid = unified !== undefined && hierarchies.length > 1;
const skip = skipRoot || (isHybrid ? false : 'this host has no cgroup v2 hierarchy beside those of v1');

/** Removes a group as soon as it can, once, as those do that look for empty ones. */
const rival = `
  const { rmdirSync } = require('node:fs');
  process.stdout.write('r');
  for (;;) {
    try {
      rmdirSync(process.argv[1]);
      break;
    } catch {
      // not made yet, or not empty any more
    }
  }`;

describe('a container whose empty cgroup somebody removes', { skip }, () => {
  let root: TestRoot;
  before(() => {
    root = new TestRoot();
  });
  after(() => root[Symbol.dispose]());

  for (const starter of ['fork', 'spawn'] satisfies Starter[]) {
    test(`is made all the same (${starter})`, async () => {
      await root.run(starter); // from here on the runner is warm
      let removed = 0;
      for (let i = 0; removed < 3 && i < 30; i++) {
        const path = `${root.parent}/${starter}${i}`;
        const remover = spawn(process.execPath, ['-e', rival, `${unified?.mountPoint}${path}`], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        await once(remover.stdout, 'data');
        const ended = once(remover, 'exit');
        const result = await root.run(starter, { args: ['/bin/sh', '-c', 'exit 7'], linux: { cgroupsPath: path } });
        assert.equal(result.error, undefined, JSON.stringify(result.error));
        assert.equal(result.exitCode, 7);
        remover.kill('SIGKILL'); // it has removed the group by now, if only with the container's end
        await ended;
        if (result.warnings?.some((text) => text.startsWith('somebody removed'))) removed += 1;
      }
      assert.ok(removed > 0, 'no group was ever removed in time: the test shows nothing');
    });
  }
});
