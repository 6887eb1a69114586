import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectProcesses } from './list-processes.ts';

const ofDefault = `UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 Nov24 ?        00:00:01 /sbin/init
root         812     800  0 02:30 ?        00:00:00 sleep 600
www          813     812  0 02:30 ?        00:00:00 sh -c   echo  two
root        8121     800  0 02:30 ?        00:00:00 sleep 600
`;

test('processes of the container alone, the command as one value', () => {
  const { titles, rows } = selectProcesses(ofDefault, new Set([812, 813]));
  assert.deepEqual(titles, ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
  assert.deepEqual(rows, [
    ['root', '812', '800', '0', '02:30', '?', '00:00:00', 'sleep 600'],
    ['www', '813', '812', '0', '02:30', '?', '00:00:00', 'sh -c echo two'],
  ]);
});

test('threads follow their process', () => {
  const printed =
    '    PID     LWP COMMAND\n     10       - other\n      -      10 -\n     20       - ours\n      -      20 -\n';
  assert.deepEqual(selectProcesses(printed, new Set([20])).rows, [
    ['20', '-', 'ours'],
    ['-', '20', '-'],
  ]);
});

test('a line with fewer values than heads is filled up', () => {
  assert.deepEqual(selectProcesses('    PID WCHAN CMD\n     20\n', new Set([20])).rows, [['20', '', '']]);
});

test('without a column PID nobody knows whose processes they are', () => {
  const wrong = { reason: 'INVALID_FIELD', message: /ps_args.*PID/s };
  assert.throws(() => selectProcesses('CMD\nsleep 600\n', new Set([1]), ['-o', 'cmd']), wrong);
  assert.throws(() => selectProcesses('', new Set([1])), wrong);
});
