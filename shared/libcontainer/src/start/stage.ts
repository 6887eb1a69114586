// Entry point of a child that is not forked: `stage.ts <work descriptor> <channel descriptor>`, started by spawn-stage.ts.
import { fstatSync, readSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { runWork, type Work } from '../child/run-work.ts';

const [workFd, channelFd] = process.argv.slice(2).map(Number) as [number, number];
const data = Buffer.alloc(fstatSync(workFd).size);
readSync(workFd, data, 0, data.length, 0);
runWork(deserialize(data) as Work, channelFd);
