import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { inTerminal } from '../harness/terminal.ts';

type Look = readonly [what: string, flags: readonly string[], script: string, expected: string | RegExp];

/** Flags of `run`, the script that looks from inside, and what it must see. */
const seen: readonly Look[] = [
  ['environment', ['--env', 'COLOUR=green', '--env', 'EMPTY='], 'echo "$COLOUR:$EMPTY:$PATH"', 'green::/bin\n'],
  ['working folder, made when missing', ['--workdir', '/made/here'], 'pwd', '/made/here\n'],
  ['user and group', ['--user', '1000:2000'], 'id -u; id -g', '1000\n2000\n'],
  ['user by name', ['--user', 'nobody'], 'id -u', '65534\n'],
  ['host name', ['--hostname', 'ship'], 'hostname; grep -c ship /etc/hosts', 'ship\n1\n'],
  ['read-only root', ['--read-only'], 'touch /x 2>&1', /Read-only file system/],
  [
    'tmpfs',
    ['--read-only', '--tmpfs', '/scratch:size=1m'],
    'echo y >/scratch/x && cat /scratch/x; grep -c " /scratch tmpfs" /proc/mounts',
    'y\n1\n',
  ],
  ['capabilities, default', [], 'grep CapEff /proc/self/status', /00000000a80425fb/],
  ['capabilities, none', ['--cap-drop', 'ALL'], 'grep CapEff /proc/self/status', /0000000000000000/],
  [
    'capabilities, one added',
    ['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN'],
    'grep CapEff /proc/self/status',
    /0000000000001000/,
  ],
  ['no new privileges', ['--security-opt', 'no-new-privileges'], 'grep NoNewPrivs /proc/self/status', /1/],
  ['seccomp filter', [], 'grep "Seccomp:" /proc/self/status', /2/],
  ['seccomp unconfined', ['--security-opt', 'seccomp=unconfined'], 'grep "Seccomp:" /proc/self/status', /0/],
  ['ulimit', ['--ulimit', 'nofile=123:456'], 'ulimit -Sn; ulimit -Hn', '123\n456\n'],
  ['processors by number', ['--cpuset-cpus', '0'], 'grep Cpus_allowed_list /proc/self/status', /:\s+0\n/],
  ['no network', ['--network', 'none'], 'ls /sys/class/net', 'lo\n'],
  ['bridge network', [], 'ls /sys/class/net; ip route | grep -c default', 'eth0\nlo\n1\n'],
  ['init', ['--init'], 'readlink /proc/1/exe; cat /proc/1/comm', /init|tini/],
  ['pid 1 is the command itself', [], 'echo $$', '1\n'],
  ['no entrypoint, another program', ['--entrypoint', 'cat'], '/www/index.html', 'Hello from a container.\n'],
];

/** Those whose flags do not touch each other's: one container can show all of a row. The others need one each. */
const seenTogether: readonly (readonly string[])[] = [
  [
    'environment',
    'host name',
    'capabilities, default',
    'seccomp filter',
    'ulimit',
    'processors by number',
    'bridge network',
    'pid 1 is the command itself',
  ],
  ['read-only root', 'tmpfs', 'capabilities, none', 'no new privileges', 'no network'],
  ['working folder, made when missing', 'capabilities, one added', 'seccomp unconfined', 'init'],
];

/** Looks as often as a container must be made: where that is a program of its own, it takes a second of a processor. */
function looks(forkMode: 'fork' | 'spawn'): readonly (readonly Look[])[] {
  if (forkMode === 'fork') return seen.map((look) => [look]);
  const rows = seenTogether.map((row) =>
    row.map((name) => {
      const look = seen.find(([what]) => what === name);
      if (look === undefined) throw new Error(`nothing is called ${name}`);
      return look;
    }),
  );
  return [...rows, ...seen.filter((look) => !rows.flat().includes(look)).map((look) => [look])];
}

/** Between what two scripts of one container say. */
const border = '-- next --\n';

/** Tests of what `run` and its kin do, with an engine whose shims start in the given way. */
export function testRun(forkMode: 'fork' | 'spawn'): void {
  let engine: Engine;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-files-'));
    engine = await Engine.start({ FLOTILLA_FORK: forkMode });
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    await engine[Symbol.asyncDispose]();
  });

  test(`shims start by ${forkMode}`, async () => {
    const { forkMode: used } = JSON.parse(await engine.ok('info', '--format', 'json')) as { forkMode: string };
    assert.equal(used, forkMode);
  });

  for (const row of looks(forkMode)) {
    test(`inside: ${row.map(([what]) => what).join('; ')}`, async () => {
      const flags = [...new Set(row.map(([, given]) => given.join('\0')))].flatMap((given) => given.split('\0'));
      const scripts = row.map(([, , script]) => script);
      const command = flags.includes('--entrypoint')
        ? scripts
        : ['sh', '-c', scripts.join(`\nprintf '%s\\n' '${border.trim()}'\n`)];
      const run = await engine.flotilla(['run', '--rm', ...flags.filter(Boolean), demoImage, ...command]);
      const said = run.stdout.split(border);
      assert.equal(said.length, row.length, run.stderr);
      for (const [i, [what, , , expected]] of row.entries()) {
        const text = said[i] ?? '';
        if (typeof expected === 'string') assert.equal(text, expected, `${what}: ${run.stderr}`);
        else assert.match(text, expected, `${what}: ${run.stderr}`);
      }
    });
  }

  test('a device of the host', async () => {
    const flags = ['--device', '/dev/random:/dev/given:r'];
    const script = 'test -c /dev/given && head -c 4 /dev/given | wc -c';
    assert.equal(await engine.ok('run', '--rm', ...flags, demoImage, 'sh', '-c', script), '4');
  });

  test('the exit code is the container’s own', async () => {
    for (const code of [0, 1, 42, 125, 255]) {
      assert.equal((await engine.flotilla(['run', '--rm', demoImage, 'sh', '-c', `exit ${code}`])).code, code);
    }
  });

  test('standard output and error are kept apart, input reaches it and ends', async () => {
    const run = await engine.flotilla(
      ['run', '--rm', '--interactive', demoImage, 'sh', '-c', 'wc -c; echo wrong >&2'],
      {
        input: Buffer.alloc(300_000, 'x'),
      },
    );
    assert.deepEqual([run.stdout, run.stderr, run.code], ['300000\n', 'wrong\n', 0]);
  });

  test('much output arrives whole', async () => {
    const run = await engine.flotilla(['run', '--rm', demoImage, 'seq', '1', '200000']);
    const expected = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join('');
    assert.ok(run.stdout === expected, `${run.stdout.length} of ${expected.length} bytes`);
  });

  test('--rm leaves nothing, without it the container stays', async () => {
    await engine.ok('run', '--rm', '--name', 'gone', demoImage, 'true');
    await engine.ok('run', '--name', 'stays', demoImage, 'echo', 'said');
    assert.equal(await engine.ok('ps', '--all', '--format', '{{.Names}}'), 'stays');
    assert.equal(await engine.ok('logs', 'stays'), 'said');
    await engine.ok('rm', 'stays');
  });

  test('bind mounts: writable, read-only, and what the container writes is on the host', async () => {
    writeFileSync(join(folder, 'in'), 'from the host\n');
    const script = 'cat /data/in; echo back >/data/out';
    assert.equal(
      await engine.ok('run', '--rm', '--volume', `${folder}:/data`, demoImage, 'sh', '-c', script),
      'from the host',
    );
    assert.equal(readFileSync(join(folder, 'out'), 'utf8'), 'back\n');
    const readOnly = ['--mount', `type=bind,source=${folder},target=/data,readonly`];
    const refused = await engine.flotilla(['run', '--rm', ...readOnly, demoImage, 'touch', '/data/x']);
    assert.match(refused.stderr, /Read-only file system/);
  });

  test('a volume keeps what one container wrote for the next', async () => {
    await engine.ok('run', '--rm', '--volume', 'kept:/data', demoImage, 'sh', '-c', 'echo kept >/data/x');
    assert.equal(await engine.ok('run', '--rm', '--volume', 'kept:/data', demoImage, 'cat', '/data/x'), 'kept');
    await engine.ok('volume', 'rm', 'kept');
  });

  test('stop asks first and then insists; kill and restart', async () => {
    const polite = await engine.ok(
      'run',
      '--detach',
      demoImage,
      'sh',
      '-c',
      'trap "exit 3" TERM; while :; do usleep 10000; done',
    );
    await engine.ok('stop', polite);
    assert.equal(await engine.ok('wait', polite), '3');
    const deaf = await engine.ok(
      'run',
      '--detach',
      demoImage,
      'sh',
      '-c',
      'trap "" TERM; while :; do usleep 10000; done',
    );
    await engine.ok('stop', '--time', '1', deaf);
    assert.equal(await engine.ok('wait', deaf), '137');
    await engine.ok('start', deaf);
    const { initPid } = await engine.status(deaf);
    await engine.ok('restart', '--time', '0', deaf);
    assert.notEqual((await engine.status(deaf)).initPid, initPid);
    await engine.ok('kill', deaf);
    assert.equal(await engine.ok('wait', deaf), '137');
    await engine.ok('rm', polite, deaf);
  });

  test('exec: output, exit code, user, environment', async () => {
    const id = await engine.ok('run', '--detach', demoImage, 'sleep', '600');
    assert.equal(
      await engine.ok(
        'exec',
        '--user',
        '7',
        '--env',
        'A=b',
        '--workdir',
        '/tmp',
        id,
        'sh',
        '-c',
        'echo $(id -u) $A $(pwd)',
      ),
      '7 b /tmp',
    );
    assert.equal((await engine.flotilla(['exec', id, 'sh', '-c', 'exit 9'])).code, 9);
    assert.equal((await engine.flotilla(['exec', id, 'sh', '-c', 'kill -9 $$'])).code, 137);
    assert.equal((await engine.flotilla(['exec', id, 'no-such-command'])).code, 127);
    assert.equal((await engine.flotilla(['exec', id, '/www/index.html'])).code, 126);
    const piped = await engine.flotilla(['exec', '--interactive', id, 'cat'], { input: 'through\n' });
    assert.equal(piped.stdout, 'through\n');
    await engine.ok('rm', '--force', id);
    assert.equal((await engine.flotilla(['exec', id, 'true'])).code, 1);
  });

  test('run with a terminal: size, control-C', async () => {
    const typed = ['stty size', 'sleep 100', '\x03', 'echo status $?', 'exit 6'];
    const args = ['run', '--rm', '--interactive', '--tty', demoImage, 'sh'];
    const session = await inTerminal(engine, args, { rows: 41, columns: 77, after: /# /, typed });
    assert.match(session.output, /41 77/);
    assert.match(session.output, /status 130/);
    assert.equal(session.code, 6);
  });

  test('control-C without a terminal reaches the container', async () => {
    const session = await inTerminal(
      engine,
      ['run', '--rm', demoImage, 'sh', '-c', 'trap "exit 11" INT; echo ready; while :; do usleep 10000; done'],
      {
        rows: 24,
        columns: 80,
        after: /ready/,
        typed: ['\x03'],
      },
    );
    assert.equal(session.code, 11, session.output);
  });

  test('a published port is reached from the host', async () => {
    const id = await engine.ok('run', '--detach', '--publish', '127.0.0.1::80', demoImage, 'httpd', '-f', '-h', '/www');
    const ports = await engine.ok('ps', '--format', '{{.Ports}}');
    const port = ports.match(/127[.]0[.]0[.]1:(\d+)->80\/tcp/)?.[1];
    assert.ok(port !== undefined, ports);
    const body = await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text());
    assert.equal(body, 'Hello from a container.\n');
    await engine.ok('rm', '--force', id);
  });

  test('two containers reach each other by address', async () => {
    const server = await engine.ok('run', '--detach', demoImage, 'httpd', '-f', '-h', '/www');
    const address = await engine.ok(
      'exec',
      server,
      'sh',
      '-c',
      "ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'",
    );
    assert.match(address, /^\d+[.]\d+[.]\d+[.]\d+$/);
    assert.equal(
      await engine.ok('run', '--rm', demoImage, 'wget', '-q', '-O', '-', `http://${address}/`),
      'Hello from a container.',
    );
    await engine.ok('rm', '--force', server);
  });
}
