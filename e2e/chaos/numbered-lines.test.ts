import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { demoImage, Engine, serviceNames } from '../harness/engine.ts';
import { waitFor } from '../harness/wait.ts';

// A container writes a numbered line every 5 ms while every process of the engine is killed. The oracle is the numbers
// themselves, and the container's first process, which must be the same one throughout.
let engine: Engine;
let container: string;
let initPid: number;
let follower: ReturnType<typeof follow>;

before(async () => {
  engine = await Engine.start();
  const script = 'i=0; while :; do echo "line $i"; i=$((i+1)); usleep 5000; done';
  container = await engine.ok('run', '--detach', demoImage, 'sh', '-c', script);
  initPid = (await engine.status(container)).initPid;
  follower = follow(container);
});
after(async () => {
  follower.child.kill('SIGKILL');
  await engine[Symbol.asyncDispose]();
});

/** `logs --follow`, left alone from the beginning to the end. */
function follow(id: string) {
  const [command = '', ...args] = engine.commandWords('logs', '--follow', id);
  const child = spawn(command, args, { env: engine.env, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { text: '', complaints: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    output.text += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output.complaints += chunk.toString();
  });
  return { child, output };
}

/** How many lines there are, having checked that they are numbered without gap or double. */
function countUnbroken(text: string, what: string): number {
  const lines = text.split('\n').slice(0, -1);
  for (const [i, line] of lines.entries()) {
    if (line !== `line ${i}`) assert.fail(`${what}: behind ${lines[i - 1]} comes ${line}, line ${i} was expected`);
  }
  return lines.length;
}

async function logged(): Promise<number> {
  return countUnbroken(`${await engine.ok('logs', container)}\n`, 'logs');
}

/** The container still runs, is the same, and what it writes arrives. */
async function goesOn(before: number): Promise<void> {
  assert.equal((await engine.status(container)).initPid, initPid);
  await waitFor('the log grows', async () => (await logged()) > before + 50);
}

for (const service of serviceNames) {
  test(`SIGKILL to ${service}: it is back by itself, no line is missing or doubled`, async () => {
    const count = await logged();
    await engine.killAndAwait(service);
    await goesOn(count);
  });
}

test('SIGKILL to all of them at once', async () => {
  const count = await logged();
  await engine.killAndAwait(...serviceNames);
  await goesOn(count);
});

test('SIGKILL to all of them three times in quick succession', async () => {
  const count = await logged();
  for (let i = 0; i < 3; i += 1) {
    for (const service of serviceNames) {
      const pid = engine.pid(service);
      if (pid !== undefined) killQuietly(pid);
    }
    await sleep(150);
  }
  await engine.healthy();
  await goesOn(count);
});

test('who followed the log all the time has every line once', async () => {
  const count = await logged();
  await waitFor('the follower catches up', () => follower.output.text.includes(`line ${count - 1}\n`)).catch(
    (error) => {
      assert.fail(`${error.message}; the follower says: ${follower.output.complaints || 'nothing'}`);
    },
  );
  const complete = follower.output.text.slice(0, follower.output.text.lastIndexOf('\n') + 1);
  assert.ok(countUnbroken(complete, 'logs --follow') >= count);
});

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // killed a moment ago and not started again yet
  }
}
