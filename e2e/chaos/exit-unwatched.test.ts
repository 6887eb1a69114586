import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf, storedEvents } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const kill = (pid: number | undefined) => {
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
};

/** Kills the keeper, so that nothing is started again, and these services; `up` brings them back. */
async function withoutServices(services: readonly ('supervisor' | 'launcher' | 'nats')[], work: () => Promise<void>) {
  kill(engine.pid('keeper'));
  for (const service of services) kill(engine.pid(service));
  await work();
  await engine.up();
}

for (const away of [['supervisor'], ['supervisor', 'nats'], ['supervisor', 'launcher', 'nats']] as const) {
  test(`a container that ends while ${away.join(', ')} are dead: exit code and one event of each kind`, async () => {
    const script = 'trap "exit 7" TERM; echo begun; while :; do usleep 10000; done';
    const id = await engine.ok('run', '--detach', demoImage, 'sh', '-c', script);
    const status = await engine.status(id);
    await waitFor('it has set its trap', async () => (await engine.ok('logs', id)) === 'begun');
    await withoutServices(away, async () => {
      process.kill(status.initPid, 'SIGTERM');
      await waitFor('it ends', () => !existsSync(`/proc/${status.initPid}/cmdline`));
    });
    assert.equal(await engine.ok('wait', id), '7');
    assert.deepEqual(await actionsOf(engine, id, 'die'), ['create', 'start', 'die']);
    await engine.ok('rm', id);
    assert.deepEqual(await actionsOf(engine, id, 'destroy'), ['create', 'start', 'die', 'destroy']);
  });
}

const running = (code: number) => [
  'sh',
  '-c',
  `trap "exit ${code}" TERM; : >/tmp/${code}; while :; do usleep 10000; done`,
];
const isDead = (pid: number) =>
  !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');

/** How the launcher is kept from starting another shim before the exec has ended, and from then on not. */
const launchers = [
  { what: 'shim', stop: 'SIGSTOP', goOn: (pid: number) => process.kill(pid, 'SIGCONT') },
  { what: 'shim and launcher', stop: 'SIGKILL', goOn: () => true }, // the keeper starts it again: that takes longer
] as const;
for (const { what, stop, goOn } of launchers) {
  test(`a container whose ${what} die goes on; its exit code is kept, as that of an exec that ends meanwhile`, async () => {
    const id = await engine.ok('run', '--detach', demoImage, ...running(9));
    await engine.ok('exec', '--detach', id, ...running(7));
    const { shimPid, initPid } = await engine.status(id);
    const execPid = await waitFor('the exec has set its trap', () =>
      existsSync(`/proc/${initPid}/root/tmp/7`) ? childrenOf(shimPid).find((pid) => pid !== initPid) : undefined,
    );
    const launcher = engine.pid('launcher');
    assert.ok(launcher !== undefined);
    process.kill(launcher, stop);
    process.kill(shimPid, 'SIGKILL');
    await waitFor('the shim is dead', () => isDead(shimPid));
    process.kill(execPid, 'SIGTERM');
    await waitFor('the exec is dead', () => isDead(execPid));
    goOn(launcher);
    const die = await waitFor('the end of the exec', async () => {
      const events = await storedEvents(engine);
      return events.find(({ actorId, action }) => actorId === id && action === 'exec_die');
    });
    assert.equal(die.attributes?.exitCode, '7');
    assert.ok(!isDead(initPid), 'the container goes on');
    process.kill(initPid, 'SIGTERM');
    assert.equal(await engine.ok('wait', id), '9');
    await engine.ok('rm', '--force', id);
  });
}

const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

test('a terminal outlives its shim, its launcher and its keeper, killed one after the other', async () => {
  const script = 'trap "exit 8" TERM; i=0; while :; do echo "line $i"; i=$((i+1)); usleep 20000; done';
  const id = await engine.ok('run', '--detach', '--tty', demoImage, 'sh', '-c', script);
  const { initPid, shimPid } = await engine.status(id);
  kill(engine.pid('keeper'));
  await engine.up();
  await engine.killAndAwait('launcher');
  kill(shimPid);
  await waitFor('another shim has it', async () => (await engine.status(id)).shimPid !== shimPid);
  const count = async () => (await engine.ok('logs', id)).split('\n').length;
  const before = await count();
  await waitFor('it goes on', async () => (await count()) > before + 10);
  process.kill(initPid, 'SIGTERM');
  assert.equal(await engine.ok('wait', id), '8');
  await engine.ok('rm', id);
});
