import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DockerDaemon } from '../harness/docker-daemon.ts';
import { makeTestFolders } from '../harness/test-folders.ts';
import { writeLayout } from './layout-writer.ts';
import { type Cell, runMatrix } from './matrix.ts';
import { attributes, manyLayers } from './sample-layouts.ts';

const problem = await DockerDaemon.problem();
const skip = problem === undefined ? false : `no Docker to compare with: ${problem} (Debian: docker.io, docker-cli)`;

// A slice of `npm run matrix:images`.
test('images go between skopeo, dockerd and the engine with the same digests and the same root', { skip }, async () => {
  const { folder } = makeTestFolders();
  const cells: Cell[] = [];
  try {
    const layout = join(folder, 'layout');
    // All changes of the twelve layers, and of attributes alone, over one another.
    await writeLayout(layout, [...manyLayers(14), ...attributes()]);
    const layouts = new Map([['slice', layout]]);
    await runMatrix({ layouts, kinds: ['token'], alsoSchema2: false, onCell: (cell) => cells.push(cell) });
  } finally {
    rmSync(folder, { recursive: true });
  }
  for (const { way, digests, root, paths } of cells) {
    assert.deepEqual([way, digests, root], [way, [], []]);
    assert.ok(paths > 40, `${way}: only ${paths} paths`);
  }
  assert.equal(cells.length, 5);
});
