import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const script = `
  grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups|Uid|Gid)' /proc/self/status
  umask; pwd; hostname; ls /dev; stat -c '%n %a %t:%T %u:%g' /dev/null /dev/tty /dev/shm
  awk '{ print $5, $6 }' /proc/self/mountinfo | grep -vE '^/sys/fs/cgroup/.'
  cat /proc/sys/net/ipv4/ip_forward; echo x > /proc/sys/kernel/msgmax; cat /sys/class/net/lo/flags
  wc -c < /proc/timer_list; ls /proc/self/fd
`;

describe('the same config.json', { skip: skipRoot }, () => {
  let root: TestRoot;
  before(() => {
    root = new TestRoot();
  });
  after(() => root[Symbol.dispose]());

  test('makes the same container as runc does', async (t) => {
    if (spawnSync('runc', ['--version']).status !== 0) return t.skip('runc is not installed');
    const change = {
      args: ['/bin/sh', '-c', script],
      process: { user: { uid: 0, gid: 0, additionalGids: [10, 20] }, noNewPrivileges: true },
      spec: { root: { path: root.lower, readonly: true } },
      linux: { sysctl: { 'net.ipv4.ip_forward': '1' } },
      scenario: { rootfsMounts: [] },
    };
    const ours = await root.run('fork', change);
    const theirs = runByRunc(root.spec('by-runc', change));
    assert.equal(ours.error?.message, undefined);
    assert.equal(comparable(ours.stdout), comparable(theirs.stdout), theirs.stderr);
    return undefined;
  });

  function runByRunc(spec: object): { stdout: string; stderr: string } {
    const bundle = join(root.dir, 'runc');
    mkdirSync(bundle);
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
    const state = ['--root', join(root.dir, 'runc-state')];
    const id = `flc-${process.pid}`;
    try {
      return spawnSync('runc', [...state, 'run', '--bundle', bundle, id], { encoding: 'utf8', timeout: 20_000 });
    } finally {
      spawnSync('runc', [...state, 'delete', '--force', id]);
    }
  }
});

/** Which file hides what is masked, the order of mounts of one kind, and what `atime` is called, is nobody's business. */
function comparable(output: string): string {
  const hidden = /^(\/proc\/(acpi|interrupts|keys|timer_list)|\/sys\/firmware|\/sys\/fs\/cgroup) .*/;
  return output
    .split('\n')
    .map((line) => line.replace(',relatime', '').replace(hidden, '$1'))
    .sort()
    .join('\n');
}
