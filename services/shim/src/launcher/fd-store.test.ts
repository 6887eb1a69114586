import assert from 'node:assert/strict';
import { fstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { bindUnix, closeFd, pipe2, recvFds, unixSocket } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { FdStore } from './fd-store.ts';

const log = createLogger({ service: 'test', level: 'silent' });
const folder = mkdtempSync('/tmp/fl-store-');
const address = join(folder, 'notify.sock');
test.after(() => rmSync(folder, { recursive: true }));

/** Stands where systemd does: a datagram socket of the kernel's. */
class Manager implements Disposable {
  readonly #fd = unixSocket({ datagrams: true, nonBlocking: true });

  constructor() {
    rmSync(address, { force: true });
    bindUnix(this.#fd, address);
  }

  /** All that has come: the text of each, and the inode of what came with it. */
  hear(): string[] {
    const heard: string[] = [];
    const buffer = Buffer.alloc(500);
    for (let got = recvFds(this.#fd, buffer); got !== undefined; got = recvFds(this.#fd, buffer)) {
      const inodes = got.fds.map((fd) => ` ${fstatSync(fd).ino}`);
      for (const fd of got.fds) closeFd(fd);
      heard.push(buffer.toString('latin1', 0, got.length).replaceAll('\n', ' ') + inodes.join(''));
    }
    return heard;
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

const inode = (fd: number): number => fstatSync(fd).ino;
const openFds = (): number => readdirSync('/proc/self/fd').length;

test('descriptors are left with the manager by name, and taken back from it', () => {
  using manager = new Manager();
  const { readFd, writeFd } = pipe2();
  const store = new FdStore(address, log);
  store.notify({ READY: '1' });
  store.add('stdin-one', writeFd);
  store.restore(new Map([['init-two', readFd]]));
  assert.equal(store.size, 2);
  store.remove('stdin-one');
  store.remove('stdin-one');
  store.remove('init-two');
  store.remove('init-unknown');
  assert.deepEqual(manager.hear(), [
    'READY=1',
    `FDSTORE=1 FDNAME=stdin-one FDPOLL=0 ${inode(writeFd)}`,
    'FDSTOREREMOVE=1 FDNAME=stdin-one',
    'FDSTOREREMOVE=1 FDNAME=init-two',
  ]);
  assert.equal(store.size, 0);
  closeFd(readFd);
  closeFd(writeFd);
});

test('what a full queue does not take is sent later, but not what has been removed meanwhile', () => {
  using manager = new Manager();
  const { readFd, writeFd } = pipe2();
  const store = new FdStore(address, log);
  for (let i = 0; store.pollFds.length === 0; i++) store.notify({ STATUS: String(i) });
  store.add('stdin-gone', writeFd);
  store.remove('stdin-gone');
  store.add('stdin-kept', writeFd);
  const first = manager.hear();
  assert.ok(!first.some((text) => text.includes('FDSTORE')));
  store.flush();
  assert.deepEqual(
    manager.hear().filter((text) => text.includes('FDSTORE')),
    ['FDSTOREREMOVE=1 FDNAME=stdin-gone', `FDSTORE=1 FDNAME=stdin-kept FDPOLL=0 ${inode(writeFd)}`],
  );
  assert.deepEqual(store.pollFds, []);
  closeFd(readFd);
  closeFd(writeFd);
});

test('a manager that was away gets everything when it is back; without one nothing is left open', () => {
  const before = openFds();
  const { readFd, writeFd } = pipe2();
  const store = new FdStore(address, log);
  {
    using manager = new Manager();
    store.add('stdin-one', writeFd);
    assert.equal(manager.hear().length, 1);
  }
  store.add('init-one', readFd);
  assert.equal(openFds(), before + 2, 'the pipe, and no socket');
  using manager = new Manager();
  store.notify({ STATUS: 'back' });
  assert.deepEqual(manager.hear().sort(), [
    `FDSTORE=1 FDNAME=init-one FDPOLL=0 ${inode(readFd)}`,
    `FDSTORE=1 FDNAME=stdin-one FDPOLL=0 ${inode(writeFd)}`,
    'STATUS=back',
  ]);
  const none = new FdStore(undefined, log);
  none.add('stdin-one', writeFd);
  assert.equal(none.size, 0);
  closeFd(readFd);
  closeFd(writeFd);
});

test('a manager that has taken the place of another gets everything, though there is nothing to say', async () => {
  const { readFd, writeFd } = pipe2();
  const store = new FdStore(address, log);
  {
    using manager = new Manager();
    store.add('stdin-one', writeFd);
    assert.equal(manager.hear().length, 1);
  }
  using manager = new Manager();
  await setTimeout(250);
  store.flush();
  assert.deepEqual(manager.hear(), [`FDSTORE=1 FDNAME=stdin-one FDPOLL=0 ${inode(writeFd)}`]);
  await setTimeout(250);
  store.flush();
  assert.deepEqual(manager.hear(), [], 'once');
  closeFd(readFd);
  closeFd(writeFd);
});
