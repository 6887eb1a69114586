import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { GrpcClient } from '../../harness/grpc-client.ts';
import { check, lifeOf } from './check.ts';
import { Load, write } from './load.ts';
import { containersOf, type Report } from './record.ts';
import { listContainers } from './seen.ts';

// Runs in the machine: compares the engine with the record that the host has put on a disk of its own, then makes load until
// the power is cut. `guest.ts RECORD SEED`; seed 0 makes no load.
const [recordPath = '', seedText = '0'] = process.argv.slice(2);
const text = readFileSync(recordPath, 'utf8');
const reports = JSON.parse(text.slice(0, text.indexOf('\0'))) as readonly Report[];
const { FLOTILLA_ROOT: root = '', FLOTILLA_RUN: run = '' } = process.env;
using client = new GrpcClient(join(run, 'api.sock'));

const beganAt = performance.now();
const wrong = await check(client, root, reports);
for (const text of wrong) console.log(`WRONG ${text}`);
const known = containersOf(reports);
console.log(
  `CHECK ${wrong.length === 0 ? 'passed' : 'failed'}: ${known.size} containers, ${((performance.now() - beganAt) / 1000).toFixed(0)} s`,
);

if (wrong.length === 0 && seedText !== '0') {
  const seen = await listContainers(client);
  for (const one of known.values()) {
    if (one.maybe !== undefined) write({ kind: 'found', name: one.name, life: lifeOf(one, seen.get(one.name)) });
  }
  await new Load(client, Number(seedText)).run();
}
