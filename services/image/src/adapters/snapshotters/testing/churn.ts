import process from 'node:process';
import type { SnapshotterName } from '../snapshotter.ts';
import { SnapshotRig } from './snapshot-rig.ts';

// Makes and removes snapshots until it is killed, and says what is done once it is.
const [root = '', name, imageId = ''] = process.argv.slice(2);
const rig = new SnapshotRig(root, name as SnapshotterName);
for (let i = 0; ; i++) {
  const key = `churn-${process.pid}-${i}`;
  await rig.snapshots.prepare(key, imageId);
  process.stdout.write(`made ${key}\n`);
  if (i % 10 === 0) continue;
  await rig.snapshots.remove(key);
  process.stdout.write(`removed ${key}\n`);
}
