import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDatabase } from '@flotilla/store';
import { type ContainerEvent, type ContainerRecord, moveTo, newContainer } from '../domain/container.ts';
import type { ExecRecord } from '../domain/exec.ts';
import { aConfig, anImage } from '../testing/builders.ts';
import { ContainerStore } from './container-store.ts';
import { migrations } from './migrations.ts';

const quiet = { info: () => {}, warn: () => {}, error: () => {} };

class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'store-'));

  open(events: ContainerEvent[] = []) {
    const database = openDatabase(join(this.path, 'db'), { migrations, durable: false });
    const announce = (event: ContainerEvent) => void events.push(event);
    return {
      database,
      store: new ContainerStore({ database, announce, flush: async () => {}, log: quiet }),
      [Symbol.dispose]: () => database[Symbol.dispose](),
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

function record(containerId: string, name: string, idempotencyKey = ''): ContainerRecord {
  const config = aConfig({
    labels: { a: '1' },
    mounts: [{ type: 'MOUNT_TYPE_TMPFS', target: '/t', tmpfsSizeBytes: 5n }],
    resources: { memoryBytes: 1n << 40n, memorySwappiness: 0 },
    stopTimeoutSeconds: -1,
  });
  const fields = {
    containerId,
    name,
    config,
    createdAtUnixNano: 7n,
    idempotencyKey,
    requestDigest: 'd',
    warnings: ['w'],
  };
  return newContainer({ ...fields, sandboxId: containerId });
}

function running(base: ContainerRecord): ContainerRecord {
  const mount = { ...base.config.mounts[0]!, hostPath: '/h' };
  const made = {
    imageId: 'sha256:1',
    image: anImage({ env: ['A=1'], labels: { b: '2' } }),
    args: ['x', 'y'],
    mounts: [mount],
  };
  const created = moveTo(base, 'created', { made });
  const starting = moveTo(created, 'starting', { run: 1 });
  const live = moveTo(starting, 'running', {
    task: { initPid: 5, shimPid: 4, netnsPath: '/n' },
    startedAtUnixNano: 1n << 60n,
    oomKills: 3,
    health: {
      status: 'healthy',
      failingStreak: 1,
      probes: [{ startedAtUnixNano: 1n << 60n, endedAtUnixNano: (1n << 60n) + 1n, exitCode: -1, output: 'o' }],
    },
  });
  const port = { hostIp: '', hostPort: 80, containerPort: 8080, protocol: 'tcp' };
  return moveTo({ ...live, ports: [port] }, 'stopping', {
    stop: { signal: 15, killAtUnixNano: 1n << 61n, killed: false, restart: true, announceStop: true },
  });
}

test('what was stored is read again, field by field', () => {
  using folder = new Folder();
  const base = record('a'.repeat(64), 'one', 'key');
  const live = running(base);
  {
    using opened = folder.open();
    opened.store.save({ container: base });
    opened.store.save({ container: live });
  }
  using opened = folder.open();
  assert.deepEqual(opened.store.get(base.containerId), live);
  assert.equal(opened.store.findByIdempotencyKey('key')?.name, 'one');
  assert.equal(opened.store.findByName('one')?.containerId, base.containerId);
});

test('a container is found by id, by a unique beginning of it, by name with or without slash', () => {
  using folder = new Folder();
  using opened = folder.open();
  const { store } = opened;
  const first = record(`abc${'1'.repeat(61)}`, 'one');
  const second = record(`abd${'1'.repeat(61)}`, 'abc1');
  for (const container of [first, second]) store.save({ container });
  assert.equal(store.find(first.containerId).name, 'one');
  assert.equal(store.find('abd').name, 'abc1');
  assert.equal(store.find('/one').name, 'one');
  // A name wins over the beginning of an id.
  assert.equal(store.find('abc1').name, 'abc1');
  assert.throws(() => store.find('ab'), { reason: 'CONTAINER_AMBIGUOUS', code: 'invalid_argument' });
  assert.throws(() => store.find('none'), { reason: 'CONTAINER_NOT_FOUND', code: 'not_found' });
  assert.throws(() => store.find(''), { reason: 'CONTAINER_NOT_FOUND' });
});

test('a change and its events are one: a failure to announce loses both', () => {
  using folder = new Folder();
  using opened = folder.open();
  const failing = new ContainerStore({
    database: opened.database,
    announce: () => {
      throw new Error('no room');
    },
    flush: async () => {},
    log: quiet,
  });
  const container = record('a'.repeat(64), 'one');
  const event = { action: 'create', containerId: container.containerId, attributes: {}, timeUnixNano: 1n };
  assert.throws(() => failing.save({ container, events: [event] }), /no room/);
  assert.equal(failing.get(container.containerId), undefined);
  using again = folder.open();
  assert.deepEqual([...again.store.all()], []);
});

test('a removed container is gone with its execs, its name and its key', () => {
  using folder = new Folder();
  const events: ContainerEvent[] = [];
  const container = record('a'.repeat(64), 'one', 'key');
  const exec: ExecRecord = {
    execId: 'e1',
    containerId: container.containerId,
    run: 1,
    config: {
      command: ['x'],
      env: [],
      user: '',
      workingDir: '',
      tty: true,
      stdin: false,
      privileged: false,
      size: { rows: 1, columns: 2 },
      detachKeys: '',
    },
    state: 'exited',
    pid: 9,
    exitCode: 0,
    probe: true,
  };
  {
    using opened = folder.open(events);
    opened.store.save({ container, execs: [exec] });
  }
  using opened = folder.open(events);
  const { store } = opened;
  assert.deepEqual(store.getExec('e1'), exec);
  assert.deepEqual(store.execsOf(container.containerId), [exec]);
  const seen: unknown[] = [];
  store.watch(container.containerId, (now) => seen.push(now));
  const destroyed = { action: 'destroy', containerId: container.containerId, attributes: {}, timeUnixNano: 1n };
  store.remove(container.containerId, [destroyed]);
  assert.deepEqual(seen, [undefined]);
  assert.deepEqual(events, [destroyed]);
  for (const left of [
    store.get(container.containerId),
    store.findByName('one'),
    store.findByIdempotencyKey('key'),
    store.getExec('e1'),
  ]) {
    assert.equal(left, undefined);
  }
});

test('a row that cannot be read is put aside, the others are there, its name is free', () => {
  using folder = new Folder();
  {
    using opened = folder.open();
    for (const name of ['good', 'bad']) opened.store.save({ container: record(name[0]!.repeat(64), name) });
    opened.database.exec("UPDATE containers SET status = '{' WHERE name = 'bad'");
  }
  using opened = folder.open();
  assert.deepEqual(
    [...opened.store.all()].map(({ name }) => name),
    ['good'],
  );
  opened.store.save({ container: record('c'.repeat(64), 'bad') });
  assert.deepEqual(
    opened.database
      .prepare('SELECT name FROM quarantine')
      .all()
      .map(({ name }) => name),
    ['bad'],
  );
});
