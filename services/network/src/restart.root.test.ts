import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { hasReason } from '@flotilla/errors';
import { MS_BIND, mount, umount } from '@flotilla/linux';
import { deleteLink, insideNewNetworkNamespace, ownNetworkNamespace } from '@flotilla/linux/netlink';
import { NetworkHost } from './testing/network-host.ts';

const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'makes namespaces and mounts: FLOTILLA_ROOT_TESTS=1 runs it';
const cycles = 200;
const clients = 8;
let net: NetworkHost;
before(async () => {
  if (skip !== false) return;
  net = new NetworkHost();
  // Few addresses, so that they come round.
  await net.startService({ FLOTILLA_SUBNETS: '172.30.0.0/25' });
});
after(async () => {
  await net?.[Symbol.asyncDispose]();
});
const port = (hostPort: number, containerPort = 80) => ({ hostIp: '', hostPort, containerPort, protocol: 'tcp' });

test('200 sandboxes of 8 clients at once leave no link, rule, namespace or mount', { skip }, async (context) => {
  const addresses = new Map<string, string>();
  let next = 0;
  const client = async () => {
    for (let i = next++; i < cycles; i = next++) {
      const sandboxId = `churn-${i}`;
      const { endpoints } = await net.attach({ sandboxId, ports: i % 4 === 0 ? [port(0)] : [] });
      const { ipv4Address } = endpoints[0]!;
      assert.equal(addresses.get(ipv4Address), undefined, 'an address was given twice at a time');
      addresses.set(ipv4Address, sandboxId);
      await net.detach(sandboxId);
      addresses.delete(ipv4Address);
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  const perSecond = Math.round(cycles / ((performance.now() - startedAt) / 1000));
  for (const message of ['sandbox attached', 'sandbox detached']) {
    const times = net.logged(message).map(({ durationMs }) => Number(durationMs));
    const median = times.sort((a, b) => a - b)[times.length >> 1]!;
    context.diagnostic(
      `${message}: p50 ${median.toFixed(2)} ms, p95 ${times[Math.floor(times.length * 0.95)]!.toFixed(2)} ms`,
    );
  }
  context.diagnostic(`${perSecond} attached and detached a second by ${clients} clients`);
  await net.until('the links are gone', () => net.links().every(({ kind }) => kind !== 'veth'));
  assert.deepEqual(await net.endpoints.listSandboxes({}), { sandboxIds: [] });
  assert.equal(
    net.nftables.list('list maps').some((one) => JSON.stringify(one).includes('elem')),
    false,
  );
  assert.ok(
    net.mounts().every((path) => path.includes('/netns/warm-')),
    net.mounts().join(),
  );
});

test('traffic goes on while the service is dead and when it is back; its state is right', { skip }, async () => {
  const { netnsPath, endpoints } = await net.attach({ sandboxId: 'keeps', ports: [port(8080)] });
  await net.serve(netnsPath, 'keeps', { tcp: 80 });
  // One connection for the whole time, which asks every 10 ms and says when an answer takes longer than 500 ms.
  const stream = net.start(
    net.hostFd,
    `const s = require('node:net').connect(8080, '127.0.0.1'); let answers = 0, last = Date.now();
     s.on('data', () => { answers++; if (Date.now() - last > 500) console.log('gap'); last = Date.now(); });
     s.on('error', (e) => console.log(e.code)); setInterval(() => s.write('x'), 10);
     process.on('SIGTERM', () => { console.log('answers ' + answers); process.exit(); }); s.on('connect', () => console.log('connected'));`,
  );
  let said = '';
  stream.stdout?.on('data', (text: Buffer) => {
    said += text.toString();
  });
  await net.until('the connection is there', () => said.includes('connected'));
  const linksBefore = net.links();
  await net.stopService('SIGKILL');
  assert.match(await net.ask(net.hostFd, 'tcp', '127.0.0.1', 8080), /^keeps /);
  await net.startService();
  assert.match(await net.ask(net.outsideFd, 'tcp', '198.51.100.1', 8080), /^keeps 198[.]51[.]100[.]2$/);
  assert.deepEqual(net.links(), linksBefore);
  assert.deepEqual((await net.attach({ sandboxId: 'keeps' })).endpoints, endpoints);
  await assert.rejects(net.attach({ sandboxId: 'late', ports: [port(8080)] }), { reason: 'PORT_IN_USE' });
  assert.equal(net.logged('links were missing, made them anew').length, 0);
  const ended = once(stream, 'exit');
  stream.kill('SIGTERM');
  await ended;
  assert.match(said, /^connected\nanswers \d{2,}\n$/);
  await net.endServers();
  await net.detach('keeps');
});

/** Asks again, as may be done, when the service died with half of an answer sent: that no client library does by itself. */
async function untilAnswered(ask: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (!hasReason(error, 'SERVICE_UNAVAILABLE')) throw error;
    }
  }
}

test('a service killed in the middle of 8 clients loses nothing that it has acknowledged', { skip }, async () => {
  const there = new Set<string>();
  const unsure = new Set<string>();
  let killed = false;
  const client = async (_: unknown, number: number) => {
    for (let i = 0; i < 2 || !killed; i++) {
      const sandboxId = `k${number}-${i}`;
      unsure.add(sandboxId);
      await untilAnswered(() => net.attach({ sandboxId, ports: i % 3 === 0 ? [port(0)] : [] }));
      there.add(sandboxId);
      if (i % 2 === 0) {
        there.delete(sandboxId);
        await untilAnswered(() => net.detach(sandboxId));
      }
      unsure.delete(sandboxId);
    }
  };
  const work = Promise.all(Array.from({ length: clients }, client));
  for (let i = 0; i < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 350));
    await net.stopService('SIGKILL');
    await net.startService();
  }
  killed = true;
  await work;
  const { sandboxIds } = await net.endpoints.listSandboxes({});
  assert.deepEqual(sandboxIds, [...there].sort());
  assert.ok(sandboxIds.length > 0 && unsure.size === 0);
  const answers = sandboxIds.map((sandboxId) => net.attach({ sandboxId }));
  const places = (await Promise.all(answers)).map(({ endpoints, netnsPath }) => ({
    address: endpoints[0]!.ipv4Address,
    netnsPath,
  }));
  assert.equal(new Set(places.map(({ address }) => address)).size, places.length);
  const [first, last] = [places[0]!, places.at(-1)!];
  await net.inside(first.netnsPath, 'busybox', 'ping', '-c1', '-W2', last.address.split('/')[0]!);
  await net.until(
    'only their links are there',
    () => net.links().filter(({ kind }) => kind === 'veth').length === places.length,
  );
  await net.detach(...sandboxIds);
  await net.until('all links are gone', () => net.links().every(({ kind }) => kind !== 'veth'));
});

test('what went missing while the service was away is mended, what is left over is removed', { skip }, async () => {
  const cut = await net.attach({ sandboxId: 'cut', ports: [port(8082)] });
  await net.attach({ sandboxId: 'gone' });
  await net.serve(cut.netnsPath, 'cut', { tcp: 80 });
  const bridge = net.links().find(({ kind }) => kind === 'bridge')!;
  await net.stopService('SIGKILL');
  net.nftables.run('flush ruleset');
  net.host.execute(deleteLink({ index: bridge.index }));
  umount(`${net.run}/netns/gone`, { detach: true });
  const stranger = `${net.run}/netns/stranger`;
  writeFileSync(stranger, '');
  insideNewNetworkNamespace(() => mount({ source: ownNetworkNamespace, target: stranger, flags: MS_BIND }));
  await net.startService();
  assert.match(await net.ask(net.outsideFd, 'tcp', '198.51.100.1', 8082), /^cut /);
  assert.deepEqual(await net.endpoints.listSandboxes({}), { sandboxIds: ['cut'] });
  assert.ok(!readdirSync(`${net.run}/netns`).includes('stranger'));
  await net.stopService('SIGKILL');
  net.host.execute(
    ...net
      .links()
      .filter(({ kind }) => kind === 'veth')
      .slice(0, 1)
      .map(({ index }) => deleteLink({ index })),
  );
  await net.startService();
  assert.match(await net.ask(net.outsideFd, 'tcp', '198.51.100.1', 8082), /^cut /);
  assert.equal(net.logged('links were missing, made them anew').length, 2);
  await net.endServers();
  await net.detach('cut');
});

test('a range that the host uses is not taken', { skip }, async () => {
  await using other = new NetworkHost();
  await other.inside(other.hostFd, 'ip', 'route', 'add', '172.30.5.0/24', 'via', '198.51.100.2');
  mkdirSync(other.run, { recursive: true });
  await other.startService({ FLOTILLA_SUBNETS: '172.30.0.0/16,10.213.0.0/29' });
  const ids = ['s1', 's2', 's3', 's4', 's5'];
  for (const sandboxId of ids) {
    const { endpoints } = await other.attach({ sandboxId });
    assert.match(endpoints[0]!.ipv4Address, /^10[.]213[.]0[.][2-6][/]29$/);
  }
  await assert.rejects(other.attach({ sandboxId: 's6' }), { code: 'resource_exhausted', reason: 'NO_FREE_ADDRESS' });
  await other.detach(...ids);
});
