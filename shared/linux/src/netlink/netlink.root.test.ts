import assert from 'node:assert/strict';
import { closeSync, readlinkSync } from 'node:fs';
import { after, test } from 'node:test';
import { Nftables } from '../nftables.ts';
import {
  addAddress,
  addBridge,
  addDummy,
  addRoute,
  addVethPair,
  createNetworkNamespace,
  deleteAddress,
  deleteLink,
  deleteNeighbour,
  deleteRoute,
  getLink,
  insideNetworkNamespace,
  listAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
  NetlinkSocket,
  ownNetworkNamespace,
  setBridgePort,
  setLink,
  setNeighbour,
} from './index.ts';

const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'changes network namespaces: FLOTILLA_ROOT_TESTS=1 runs it';
// Everything happens in namespaces of this test, which end with their descriptors.
const stack = new DisposableStack();
after(() => stack.dispose());

function namespace(): { fd: number; socket: NetlinkSocket } {
  const fd = createNetworkNamespace();
  stack.defer(() => closeSync(fd));
  return { fd, socket: stack.use(new NetlinkSocket({ netnsFd: fd })) };
}

test('a socket opened inside a namespace stays there, and this process stays at home', { skip }, () => {
  const home = readlinkSync(ownNetworkNamespace);
  const { socket } = namespace();
  assert.deepEqual(
    listLinks(socket)
      .filter(({ name }) => name === 'eth0' || name === 'lo')
      .map(({ name, up }) => [name, up]),
    [['lo', false]],
  );
  assert.equal(readlinkSync(ownNetworkNamespace), home);
});

test('work that throws inside a namespace comes home', { skip }, () => {
  const home = readlinkSync(ownNetworkNamespace);
  const { fd } = namespace();
  assert.throws(
    () =>
      insideNetworkNamespace(fd, () => {
        assert.notEqual(readlinkSync(ownNetworkNamespace), home);
        throw new Error('in there');
      }),
    /in there/,
  );
  assert.equal(readlinkSync(ownNetworkNamespace), home);
});

test('a veth pair is born with one end in another namespace, on a bridge, with addresses and routes', { skip }, () => {
  const { socket: host } = namespace();
  const { fd, socket: guest } = namespace();
  host.execute(addBridge({ name: 'br0', up: true, mac: '02:42:ac:1e:00:01', mtu: 1400 }));
  const bridge = getLink(host, { name: 'br0' });
  assert.deepEqual(
    { kind: bridge.kind, mac: bridge.mac, mtu: bridge.mtu, up: bridge.up },
    {
      kind: 'bridge',
      mac: '02:42:ac:1e:00:01',
      mtu: 1400,
      up: true,
    },
  );
  const peer = { name: 'eth0', netnsFd: fd, mac: '02:42:ac:1e:00:02' };
  host.execute(addVethPair({ name: 'v0', up: true, master: bridge.index, peer }));
  const port = getLink(host, { name: 'v0' });
  host.execute(
    setBridgePort({ index: port.index }, { hairpin: true, isolated: true }),
    setLink({ index: port.index }, { alias: 'label' }),
    addAddress({ link: bridge.index, address: '172.30.0.1/16' }),
    addAddress({ link: bridge.index, address: 'fd00::1/64' }),
  );
  assert.deepEqual(
    [getLink(host, { name: 'v0' })].map(({ kind, master, alias, up }) => ({ kind, master, alias, up })),
    [{ kind: 'veth', master: bridge.index, alias: 'label', up: true }],
  );
  const eth0 = getLink(guest, { name: 'eth0' });
  assert.equal(eth0.mac, peer.mac);
  guest.execute(
    setLink({ index: eth0.index }, { up: true }),
    addAddress({ link: eth0.index, address: '172.30.0.2/16' }),
    addRoute({ destination: '0.0.0.0/0', gateway: '172.30.0.1' }),
    addRoute({ destination: '10.9.0.0/24', link: eth0.index, source: '172.30.0.2' }),
  );
  const addresses = listAddresses(host, { link: bridge.index }).map(({ address }) => address);
  assert.ok(addresses.includes('172.30.0.1/16') && addresses.includes('fd00::1/64'), addresses.join());
  assert.deepEqual(
    listAddresses(guest, { link: eth0.index }).filter(({ address }) => address.includes('.')),
    [{ link: eth0.index, address: '172.30.0.2/16' }],
  );
  const routes = listRoutes(guest).filter(({ destination }) => !destination.includes(':'));
  assert.deepEqual(routes, [
    { destination: '0.0.0.0/0', gateway: '172.30.0.1', link: eth0.index, source: undefined },
    { destination: '10.9.0.0/24', gateway: undefined, link: eth0.index, source: '172.30.0.2' },
    { destination: '172.30.0.0/16', gateway: undefined, link: eth0.index, source: '172.30.0.2' },
  ]);
  guest.execute(
    deleteRoute({ destination: '10.9.0.0/24' }),
    deleteAddress({ link: eth0.index, address: '172.30.0.2/16' }),
  );
  assert.deepEqual(
    listRoutes(guest).filter(({ destination }) => !destination.includes(':')),
    [],
  );
  host.execute(deleteLink({ name: 'v0' }));
  assert.throws(() => getLink(guest, { name: 'eth0' }), { code: 'ENODEV' });
});

test('links change name, MTU, MAC address and namespace', { skip }, () => {
  const [{ socket: one }, { fd, socket: two }] = [namespace(), namespace()];
  one.execute(addVethPair({ name: 'a', peer: { name: 'b' } }));
  const { index } = getLink(one, { name: 'a' });
  one.execute(setLink({ index }, { name: 'c', mtu: 1300, mac: '02:00:00:00:00:07' }));
  assert.equal(getLink(one, { index }).name, 'c');
  one.execute(setLink({ name: 'c' }, { netnsFd: fd }));
  const moved = getLink(two, { name: 'c' });
  assert.deepEqual([moved.mtu, moved.mac, moved.up], [1300, '02:00:00:00:00:07', false]);
});

test('neighbours are set, replaced, listed and removed', { skip }, () => {
  const { socket } = namespace();
  socket.execute(addVethPair({ name: 'a', up: true, peer: { name: 'b' } }));
  const { index: link } = getLink(socket, { name: 'a' });
  for (const address of ['10.0.0.2', 'fd00::2']) {
    socket.execute(setNeighbour({ link, address, mac: '02:00:00:00:00:01' }));
    socket.execute(setNeighbour({ link, address, mac: '02:00:00:00:00:02' }));
    const found = () => listNeighbours(socket).filter((one) => one.address === address);
    assert.deepEqual(found(), [{ link, address, mac: '02:00:00:00:00:02' }]);
    socket.execute(deleteNeighbour({ link, address }));
    assert.deepEqual(
      found().filter(({ mac }) => mac !== undefined),
      [],
    );
  }
});

test('a refusal names the call, the errno and the explanation of the kernel; the requests beside it are done', {
  skip,
}, () => {
  const { socket } = namespace();
  socket.execute(addBridge({ name: 'br0' }));
  assert.throws(() => socket.execute(addBridge({ name: 'br0' }), addBridge({ name: 'br1' })), {
    name: 'SyscallError',
    code: 'EEXIST',
    syscall: 'RTM_NEWLINK br0',
  });
  assert.equal(getLink(socket, { name: 'br1' }).kind, 'bridge');
  assert.throws(
    () => socket.execute(addRoute({ destination: '0.0.0.0/0', gateway: '10.1.1.1' })),
    (error: Error) => {
      assert.match(error.message, /ENETUNREACH: .*gateway/i);
      return true;
    },
  );
  assert.throws(() => socket.execute(setLink({ name: 'none' }, { up: true })), { code: 'ENODEV' });
});

test('many links are listed in several answers of the kernel', { skip }, () => {
  const { socket } = namespace();
  socket.execute(...Array.from({ length: 120 }, (_, i) => addBridge({ name: `br${i}` })));
  assert.equal(listLinks(socket).filter(({ kind }) => kind === 'bridge').length, 120);
});

test('a dummy link, where the kernel has them', { skip }, (context) => {
  const { socket } = namespace();
  try {
    socket.execute(addDummy({ name: 'd0', up: true }));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOTSUP');
    context.skip('this kernel has no dummy links (CONFIG_DUMMY)');
    return;
  }
  assert.equal(getLink(socket, { name: 'd0' }).kind, 'dummy');
});

test('nftables commands are one transaction: all or nothing, with an explanation', { skip }, () => {
  const { fd } = namespace();
  using nftables = new Nftables({ netnsFd: fd });
  nftables.run('add table ip one\nadd chain ip one input { type filter hook input priority 0; }');
  assert.throws(() => nftables.run('add table ip two\nadd rule ip absent one accept'), {
    name: 'NftablesError',
    message: /No such file or directory/,
  });
  nftables.runJson([{ add: { rule: { family: 'ip', table: 'one', chain: 'input', expr: [{ accept: null }] } } }]);
  const kinds = nftables.list('list ruleset').flatMap((one) => Object.keys(one as object));
  assert.deepEqual(kinds, ['metainfo', 'table', 'chain', 'rule']);
  using home = new Nftables();
  assert.ok(!home.list('list tables').some((one) => JSON.stringify(one).includes('"one"')));
});
