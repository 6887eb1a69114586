import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findProcess, getpid } from '@flotilla/linux';
import { isInitAlive } from './process-identity.ts';

const initPid = getpid();
const { startTime: own } = findProcess(initPid)!;

for (const { title, initStartTime, shimStartTime, is } of [
  { title: 'of a shim that has adopted it, and is younger', initStartTime: own, shimStartTime: own + 100, is: true },
  { title: 'of the shim that made it', initStartTime: own, shimStartTime: own - 100, is: true },
  { title: 'whose pid is used again', initStartTime: own - 50, shimStartTime: own - 100, is: false },
  { title: 'of an earlier release', initStartTime: undefined, shimStartTime: own - 100, is: true },
  { title: 'of an earlier release and boot', initStartTime: undefined, shimStartTime: own + 100, is: false },
]) {
  test(`an init ${title} is ${is ? '' : 'not '}taken for alive`, () => {
    const file = { pid: 1, run: '1', initPid, startTime: shimStartTime };
    assert.equal(isInitAlive(initStartTime === undefined ? file : { ...file, initStartTime }), is);
  });
}
