import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Engine } from '../harness/engine.ts';
import { freePort } from '../harness/free-port.ts';
import { OtherHost } from '../harness/other-host.ts';
import { inTerminal } from '../harness/terminal.ts';
import { waitFor } from '../harness/wait.ts';
import { type DebianImage, debianImage, dockerReference, ociReference } from './debian.ts';

let debian: DebianImage;
let engine: Engine;
before(
  async () => {
    debian = await debianImage();
    engine = await Engine.start();
  },
  { timeout: 280_000 },
);
after(() => engine[Symbol.asyncDispose]());

for (const [form, reference] of [
  ['docker-archive', dockerReference],
  ['OCI layout', ociReference],
] as const) {
  test(`a Debian root from a ${form} is what it is in a chroot`, async () => {
    const archive = form === 'docker-archive' ? debian.dockerArchive : debian.ociArchive;
    assert.match(await engine.ok('load', '--input', archive), new RegExp(`Loaded image: ${reference}`));
    assert.equal(await engine.ok('run', '--rm', reference, 'bash', '-c', 'dpkg -l | wc -l'), debian.packageLines);
    const second = await engine.ok(
      'run',
      '--rm',
      reference,
      'sh',
      '-c',
      'cat /etc/motd; ls /usr/share/man; ls -d /usr/share/doc /etc/issue 2>&1; true',
    );
    assert.match(second, /^changed by the second layer\nsecond-layer\n/);
    assert.match(second, /cannot access '\/usr\/share\/doc'/);
    assert.match(second, /cannot access '\/etc\/issue'/);
  });
}

test('nginx from that root is fetched by the host', async () => {
  const port = await freePort();
  const command = ['nginx', '-g', 'daemon off;'];
  const id = await engine.ok('run', '--detach', '--publish', `127.0.0.1:${port}:80`, dockerReference, ...command);
  const body = await waitFor('nginx answers', () =>
    fetch(`http://127.0.0.1:${port}/`).then(
      (answer) => answer.text(),
      () => undefined,
    ),
  );
  assert.equal(body, 'served by nginx in a container\n');
  await engine.ok('stop', id);
  await engine.ok('rm', id);
});

test('a port published on all addresses is reached from another host', async () => {
  const port = await freePort();
  const command = ['nginx', '-g', 'daemon off;'];
  const id = await engine.ok('run', '--detach', '--publish', `${port}:80`, dockerReference, ...command);
  await using other = await OtherHost.start();
  const body = await waitFor('nginx answers', async () => {
    const fetched = await other.run('curl', '--silent', '--max-time', '2', `http://${other.gateway}:${port}/`);
    return fetched.code === 0 ? fetched.stdout : undefined;
  });
  assert.equal(body, 'served by nginx in a container\n');
  await engine.ok('rm', '--force', id);
});

test('a published UDP port answers', async () => {
  const server =
    'use Socket; socket(S, PF_INET, SOCK_DGRAM, 17); bind(S, sockaddr_in(7, INADDR_ANY));' +
    'while (1) { my $peer = recv(S, my $data, 1500, 0); send(S, "echo $data", 0, $peer) }';
  const id = await engine.ok('run', '--detach', '--publish', '127.0.0.1::7/udp', dockerReference, 'perl', '-e', server);
  const ports = await engine.ok('ps', '--format', '{{.Ports}}');
  const port = Number(ports.match(/127[.]0[.]0[.]1:(\d+)->7\/udp/)?.[1]);
  const socket = createSocket('udp4');
  const answered = once(socket, 'message') as Promise<[Buffer]>;
  const timer = setInterval(() => socket.send('hello', port, '127.0.0.1'), 100);
  const [answer] = await answered;
  clearInterval(timer);
  socket.close();
  assert.equal(answer.toString(), 'echo hello');
  await engine.ok('rm', '--force', id);
});

test('exec with a terminal: its size, and job control', async () => {
  const id = await engine.ok('run', '--detach', dockerReference, 'sleep', '600');
  const typed = [
    'stty size',
    'sleep 100 &',
    'jobs',
    'kill %1; wait; jobs',
    'sleep 100',
    '\x1a',
    'jobs',
    'kill -9 %1',
    'tty',
    'exit 4',
  ];
  const session = await inTerminal(engine, ['exec', '--interactive', '--tty', id, 'bash', '--norc'], {
    rows: 33,
    columns: 101,
    after: /# /,
    typed,
  });
  assert.match(session.output, /33 101/);
  assert.match(session.output, /\[1\]\+? +Running +sleep 100 &/);
  assert.match(session.output, /\[1\]\+ +Stopped +sleep 100/);
  assert.match(session.output, /\/dev\/pts\/\d/);
  assert.doesNotMatch(session.output, /no job control/);
  assert.equal(session.code, 4);
  await engine.ok('rm', '--force', id);
});
