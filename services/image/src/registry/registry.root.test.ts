import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { sha256Digest } from '@flotilla/oci';
import { DebianRegistry } from './testing/debian-registry.ts';
import { ImageProcess } from './testing/image-process.ts';
import { PlainProxy } from './testing/plain-proxy.ts';
import { describeTree, makeSample, push, shell } from './testing/sample-images.ts';
import { TokenServer, tokenIssuer, tokenService } from './testing/token-server.ts';

// Debian's docker-registry, images made by umoci and pushed by skopeo, the real service in a process of its own.
const skip = skipReason();
const folder = mkdtempSync(join(tmpdir(), 'fl-registry-'));
const at = (name: string) => join(folder, name);
const [username, password, refreshToken] = ['captain', 'aye aye', 'refresh-me'];
const stack = new AsyncDisposableStack();
let [plain, secure, basic, token] = [] as unknown as DebianRegistry[];
let tokens: TokenServer;
let proxy: PlainProxy;
let service: ImageProcess;
let reference: string;

function skipReason(): string | false {
  if (process.env.FLOTILLA_ROOT_TESTS !== '1') return 'unpacks layers: only root, with FLOTILLA_ROOT_TESTS=1';
  return existsSync('/usr/bin/docker-registry') ? false : 'docker-registry is not installed (Debian: docker-registry)';
}

before(async () => {
  if (skip !== false) return;
  makeSample(folder);
  reference = describeTree(at('reference'));
  const certificate = { certificate: at('server.crt'), key: at('server.key') };
  shell(
    folder,
    `openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=registry.test -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:registry.test' > names
    openssl x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out server.crt`,
  );
  // By bcrypt, of the password above.
  writeFileSync(
    at('htpasswd'),
    `${username}:${shell(folder, `perl -e 'print crypt("${password}", "\\$2y\\$05\\$abcdefghijklmnopqrstuu")'`)}\n`,
  );
  tokens = stack.use(
    await TokenServer.start({ certificate: at('ca.crt'), key: at('ca.key'), username, password, refreshToken }),
  );
  proxy = stack.use(await PlainProxy.start());
  [plain, secure, basic, token] = (
    await Promise.all([
      DebianRegistry.start({ folder: at('plain') }),
      DebianRegistry.start({ folder: at('secure'), tls: certificate }),
      DebianRegistry.start({ folder: at('basic'), auth: `auth: {htpasswd: {realm: test, path: ${at('htpasswd')}}}` }),
      DebianRegistry.start({
        folder: at('token'),
        auth: `auth: {token: {realm: "${tokens.url}", service: ${tokenService}, issuer: ${tokenIssuer}, rootcertbundle: ${at('ca.crt')}}}`,
      }),
    ])
  ).map((one) => stack.use(one));
  proxy.use({ 'registry.test:5000': secure!.port, 'other.test:5000': secure!.port });
  mkdirSync(at('certs.d'));
  service = stack.use(
    new ImageProcess(
      ['--registry-certs', at('certs.d'), '--registry-retry-ms', '20', '--registry-insecure', 'other.test'],
      { HTTPS_PROXY: proxy.url },
    ),
  );
  await push(folder, 'oci:oci:sample', `${plain!.host}/test/sample:1`);
});
after(async () => {
  await stack.disposeAsync();
  rmSync(folder, { recursive: true, force: true });
});

const manifestDigest = async (path: string) => {
  const accept = 'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json';
  const answer = await fetch(`http://${plain!.host}/v2/${path}`, { headers: { accept } });
  return sha256Digest(Buffer.from(await answer.arrayBuffer()));
};

test('ten pulls of an image at once fetch each blob once; the root is the one that was packed', { skip }, async () => {
  const name = `${plain!.host}/test/sample:1`;
  const pulls = await Promise.all(Array.from({ length: 10 }, () => service.pull(name)));
  const [{ image, progress }] = pulls as [(typeof pulls)[0]];
  const config = readFileSync(at('oci/index.json'), 'utf8');
  assert.ok(config.includes(image.manifestDigest), 'the digest is the one of the layout that was pushed');
  assert.deepEqual(image.references, [name]);
  assert.deepEqual(image.digestReferences, [`${plain!.host}/test/sample@${image.manifestDigest}`]);
  assert.ok(pulls.every((pull) => pull.image.imageId === image.imageId));
  const requests = plain!.blobRequests();
  assert.equal(requests.size, 4, 'a config and three layers');
  assert.deepEqual([...requests.values()], [1, 1, 1, 1]);
  assert.equal(await service.withMounted(image.imageId, describeTree), reference);
  for (const { part } of progress) {
    const statuses = progress.filter((one) => one.part === part).map(({ status }) => status);
    const order = [...new Set(statuses)].map((one) =>
      ['waiting', 'downloading', 'verifying', 'unpacking', 'done', 'exists'].indexOf(one),
    );
    assert.deepEqual(order, order.toSorted(), `${part}: ${statuses}`);
    assert.ok(['done', 'exists'].includes(statuses.at(-1) ?? ''), `${part}: ${statuses}`);
  }
  const again = await service.pull(name);
  assert.ok(
    again.progress.every(({ status }) => status === 'exists'),
    'what is there is not fetched again',
  );
  assert.deepEqual(plain!.blobRequests(), requests);
});

test('by digest, as schema 2 and with layers in zstd, it is the same image', { skip }, async () => {
  const digest = await manifestDigest('test/sample/manifests/1');
  await service.removeAll();
  const { image } = await service.pull(`${plain!.host}/test/sample@${digest}`);
  assert.deepEqual([image.references, image.manifestDigest], [[], digest]);
  assert.equal(
    (await service.images.getImage({ image: `${plain!.host}/test/sample@${digest}`, platform: '' })).image?.imageId,
    image.imageId,
  );
  await service.removeAll();
  assert.deepEqual(await service.leftovers(), []);
  await push(folder, 'oci:oci:sample', `${plain!.host}/test/schema2:1`, '--format', 'v2s2');
  shell(folder, 'skopeo copy -q --insecure-policy --dest-decompress oci:oci:sample dir:plain-layers');
  await push(
    folder,
    'dir:plain-layers',
    `${plain!.host}/test/zstd:1`,
    '--format',
    'oci',
    '--dest-compress-format',
    'zstd',
  );
  for (const name of ['schema2', 'zstd']) {
    const pulled = await service.pull(`${plain!.host}/test/${name}:1`);
    assert.equal(pulled.image.manifestDigest, await manifestDigest(`test/${name}/manifests/1`), name);
    assert.deepEqual(pulled.image.diffIds, image.diffIds, name);
    assert.equal(await service.withMounted(pulled.image.imageId, describeTree), reference, name);
    await service.removeAll();
  }
});

test('of an index, the image for the platform is taken; its digest is a name too', { skip }, async () => {
  const one = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: await manifestDigest('test/sample/manifests/1'),
  };
  const answer = await fetch(`http://${plain!.host}/v2/test/sample/manifests/${one.digest}`, {
    headers: { accept: one.mediaType },
  });
  const size = (await answer.arrayBuffer()).byteLength;
  const entry = (architecture: string, variant?: string) => ({
    ...one,
    size,
    platform: { os: 'linux', architecture, variant },
  });
  const put = async (tag: string, manifests: readonly object[]) => {
    const type = 'application/vnd.oci.image.index.v1+json';
    const body = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests });
    const url = `http://${plain!.host}/v2/test/sample/manifests/${tag}`;
    assert.equal((await fetch(url, { method: 'PUT', body, headers: { 'content-type': type } })).status, 201);
    return sha256Digest(body);
  };
  const index = await put('index', [entry('riscv64'), entry('arm', 'v6'), entry('amd64'), entry('arm64')]);
  const name = `${plain!.host}/test/sample`;
  for (const platform of ['', 'linux/arm/v7', 'arm64/v8'.slice(0, 5)]) {
    const { image } = await service.pull(`${name}:index`, { platform });
    assert.equal(image.manifestDigest, one.digest);
    assert.ok(image.digestReferences.includes(`${name}@${index}`));
  }
  assert.ok((await service.images.getImage({ image: `${name}@${index}`, platform: '' })).image !== undefined);
  await service.images.removeImage({ image: `${name}:index`, force: false });
  await assert.rejects(service.images.getImage({ image: `${name}@${index}`, platform: '' }), {
    reason: 'IMAGE_NOT_FOUND',
  });
  await put('foreign', [entry('s390x'), entry('arm', 'v7')]);
  await assert.rejects(
    service.pull(`${name}:foreign`),
    (error: { reason: string; metadata: Record<string, string> }) => {
      assert.equal(error.reason, 'PLATFORM_NOT_FOUND');
      assert.deepEqual(
        [error.metadata.offered, error.metadata.image],
        ['linux/arm/v7, linux/s390x', `${name}:foreign`],
      );
      return true;
    },
  );
  await assert.rejects(service.pull(`${name}:1`, { platform: 'linux/arm64' }), { reason: 'PLATFORM_NOT_FOUND' });
  await assert.rejects(service.pull(`${name}:none`), { reason: 'MANIFEST_UNKNOWN' });
  await assert.rejects(service.pull(`${plain!.host}/no/such:1`), { reason: 'MANIFEST_UNKNOWN' });
  await assert.rejects(service.pull('Not/Valid'), { reason: 'INVALID_FIELD' });
  await assert.rejects(service.pull(`${name}:1`, { platform: 'plan9/mips' }), { reason: 'INVALID_FIELD' });
  assert.deepEqual(await service.leftovers(), []);
});

test('TLS, through a proxy: an authority of one’s own, and none; a host that is listed as insecure', {
  skip,
}, async () => {
  await push(folder, 'oci:oci:sample', `127.0.0.1:${secure!.port}/test/sample:1`);
  const name = 'registry.test:5000/test/sample:1';
  await assert.rejects(service.pull(name), { reason: 'REGISTRY_UNTRUSTED', message: /certs\.d/ });
  mkdirSync(at('certs.d/registry.test:5000'));
  shell(folder, 'cp ca.crt certs.d/registry.test:5000/own.crt');
  const { image } = await service.pull(name);
  assert.deepEqual(image.references, [name]);
  assert.ok(proxy.asked.includes('registry.test:5000'));
  writeFileSync(at('certs.d/registry.test:5000/own.crt'), 'no certificate');
  await assert.rejects(service.pull(name), { reason: 'INVALID_FILE' });
  await service.pull('other.test:5000/test/sample:1');
  await assert.rejects(service.pull('absent.test:5000/test/sample:1'), { reason: 'REGISTRY_UNAVAILABLE' });
  await service.removeAll();
});

test('a registry that wants a password gets it, and not another', { skip }, async () => {
  const name = `${basic!.host}/test/sample:1`;
  await push(folder, 'oci:oci:sample', name, '--dest-creds', `${username}:${password}`);
  await assert.rejects(service.pull(name), { reason: 'REGISTRY_UNAUTHORIZED', code: 'unauthenticated' });
  await assert.rejects(service.pull(name, { auth: { username, password: 'no' } }), { reason: 'REGISTRY_UNAUTHORIZED' });
  assert.deepEqual((await service.pull(name, { auth: { username, password } })).image.references, [name]);
  await service.removeAll();
});

test('a token server is asked with the password or the refresh token; a token that ends is fetched anew', {
  skip,
}, async () => {
  const name = `${token!.host}/test/sample:1`;
  await push(folder, 'oci:oci:sample', name, '--dest-creds', `${username}:${password}`);
  await assert.rejects(service.pull(name), { reason: 'REGISTRY_UNAUTHORIZED' });
  await assert.rejects(service.pull(name, { auth: { username, password: 'no' } }), {
    reason: 'REGISTRY_UNAUTHORIZED',
    message: /incorrect username or password/,
  });
  await assert.rejects(service.pull(name, { auth: { registryToken: 'x' } }), { reason: 'REGISTRY_UNAUTHORIZED' });
  tokens.asked.length = 0;
  await service.pull(name, { auth: { username, password } });
  assert.deepEqual(tokens.asked, ['GET'], 'one token is enough for a pull');
  await service.removeAll();
  tokens.asked.length = 0;
  // A token that the registry no longer takes, long before it should end.
  tokens.lifeSeconds = -600;
  tokens.asked.length = 0;
  await assert.rejects(service.pull(name, { auth: { identityToken: refreshToken } }), {
    reason: 'REGISTRY_UNAUTHORIZED',
  });
  assert.deepEqual(tokens.asked, ['POST refresh_token']);
  tokens.lifeSeconds = 300;
  tokens.saidLifeSeconds = 0;
  tokens.asked.length = 0;
  await service.pull(name, { auth: { identityToken: refreshToken } });
  assert.ok(tokens.asked.length > 3, `each request had a token of its own: ${tokens.asked}`);
  await service.removeAll();
  assert.deepEqual(await service.leftovers(), []);
});

test('a pull that is cancelled ends, and leaves nothing', { skip }, async () => {
  const controller = new AbortController();
  const pulling = service.pull(`${plain!.host}/test/sample:1`, { signal: controller.signal });
  controller.abort();
  await assert.rejects(pulling);
  assert.deepEqual(await service.leftovers(), []);
});
