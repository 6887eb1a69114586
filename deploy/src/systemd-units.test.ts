import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadRelease } from './release.ts';
import { projectRoot } from './services.ts';

const folder = fileURLToPath(new URL('../systemd', import.meta.url));
const units = readdirSync(folder).filter((name) => name !== 'README.md');
const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
const skip = hasSystemd ? false : 'systemd-analyze is not installed';

test('systemd accepts every unit', { skip }, () => {
  const copies = mkdtempSync(join(tmpdir(), 'flotilla-units-'));
  try {
    const paths = units.map((name) => join(copies, name));
    for (const [i, name] of units.entries()) {
      // Where the units expect a release, there is none on this host.
      const text = readFileSync(join(folder, name), 'utf8').replaceAll('/opt/flotilla/', `${projectRoot}/`);
      writeFileSync(paths[i] ?? '', text);
    }
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], { encoding: 'utf8' });
    // Of systemd 254 and later; earlier ones ignore it.
    const complaints = stderr
      .split('\n')
      .filter((line) => line !== '' && !line.includes('FileDescriptorStorePreserve'));
    assert.deepEqual(
      complaints.filter((line) => line.includes('flotilla')),
      [],
    );
    assert.equal(status, 0, stderr);
  } finally {
    rmSync(copies, { recursive: true });
  }
});

test('each service has a unit that starts it as the keeper does, and a socket of its name', () => {
  for (const { name, main, nodeFlags } of loadRelease(projectRoot).services) {
    const service = readFileSync(join(folder, `flotilla-${name}.service`), 'utf8');
    const flags = nodeFlags.map((flag) => `${flag} `).join('');
    assert.ok(service.includes(`ExecStart=/opt/flotilla/deploy/bin/node ${flags}/opt/flotilla/${main}\n`), name);
    assert.ok(service.includes('Type=notify\n') && service.includes('KillMode=process\n'), name);
    const socket = readFileSync(join(folder, `flotilla-${name}.socket`), 'utf8');
    assert.ok(socket.includes(`ListenStream=/run/flotilla/${name}.sock\nFileDescriptorName=${name}\n`), name);
  }
});

test('nothing of the launcher that every container would inherit is restricted', () => {
  const launcher = readFileSync(join(folder, 'flotilla-launcher.service'), 'utf8');
  const inherited =
    /^(NoNewPrivileges|Restrict|SystemCall|Protect|Private|Lock|Capability|MemoryDeny|ReadWrite|ReadOnly)/m;
  assert.doesNotMatch(launcher, inherited);
  for (const name of ['image', 'network', 'supervisor']) {
    const unit = readFileSync(join(folder, `flotilla-${name}.service`), 'utf8');
    assert.doesNotMatch(unit, /^(Protect|Private|ReadWrite|ReadOnly)/m, `${name} is in the host's mount namespace`);
    if (name === 'image') assert.match(unit, /^RestrictNamespaces=mnt$/m, 'copies enter those of containers');
  }
});
