import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pullProblem } from '../chaos/pull-images.ts';
import { killImageService } from './kill-image-service.ts';

const problem = pullProblem();

test('killed while it pulls, loads and prunes, the image service has whole blobs, right roots, and nothing that nobody needs', {
  skip: problem ?? false,
}, async () => {
  const { violations, answered, cut } = await killImageService({ seed: 4, kills: 6, clients: 2 });
  assert.deepEqual(violations, []);
  assert.ok(cut > 0, 'no kill came while something was under way');
  assert.ok((answered.pull ?? 0) > 0 && (answered.load ?? 0) > 0, 'nothing was brought in');
});
