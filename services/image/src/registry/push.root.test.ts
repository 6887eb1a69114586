import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { DroppingProxy } from './testing/dropping-proxy.ts';
import { ImageProcess } from './testing/image-process.ts';
import { PlainProxy } from './testing/plain-proxy.ts';
import { captain, type Registries, startRegistries } from './testing/registries.ts';
import { describeTree, makeSample, push, shell } from './testing/sample-images.ts';

// Debian's docker-registry takes what the real service pushes, and skopeo says what is there then.
const skip = skipReason();
const folder = mkdtempSync(join(tmpdir(), 'fl-push-'));
const at = (name: string) => join(folder, name);
const stack = new AsyncDisposableStack();
let registries: Registries;
let proxy: PlainProxy;
let service: ImageProcess;
let reference: string;
const { username, password, refreshToken } = captain;

function skipReason(): string | false {
  if (process.env.FLOTILLA_ROOT_TESTS !== '1') return 'unpacks layers: only root, with FLOTILLA_ROOT_TESTS=1';
  return existsSync('/usr/bin/docker-registry') ? false : 'docker-registry is not installed (Debian: docker-registry)';
}

before(async () => {
  if (skip !== false) return;
  makeSample(folder);
  reference = describeTree(at('reference'));
  registries = await startRegistries(folder, stack);
  proxy = stack.use(await PlainProxy.start());
  proxy.use({ 'registry.test:5000': registries.secure.port });
  mkdirSync(at('certs.d'));
  service = stack.use(
    new ImageProcess(['--registry-certs', at('certs.d'), '--registry-retry-ms', '20'], { HTTPS_PROXY: proxy.url }),
  );
});
after(async () => {
  await stack.disposeAsync();
  rmSync(folder, { recursive: true, force: true });
});

/** The digest of what skopeo finds there, by the bytes that it gets. */
async function seen(name: string, ...flags: readonly string[]): Promise<string> {
  const args = ['inspect', '--raw', '--tls-verify=false', ...flags, `docker://${name}`];
  const { stdout } = await promisify(execFile)('skopeo', args, { timeout: 60_000, encoding: 'buffer' });
  return `sha256:${createHash('sha256').update(stdout).digest('hex')}`;
}

const give = (image: string, name: string) => service.images.tagImage({ image, reference: name });

test('what was pulled is pushed with the digest that it had: OCI, schema 2, zstd; skopeo finds the same root', {
  skip,
}, async () => {
  const { host } = registries.plain;
  shell(folder, 'skopeo copy -q --insecure-policy --dest-decompress oci:oci:sample dir:plain-layers');
  await push(folder, 'oci:oci:sample', `${host}/test/oci:1`);
  await push(folder, 'oci:oci:sample', `${host}/test/schema2:1`, '--format', 'v2s2');
  const zstd = ['--format', 'oci', '--dest-compress-format', 'zstd'];
  await push(folder, 'dir:plain-layers', `${host}/test/zstd:1`, ...zstd);
  for (const kind of ['oci', 'schema2', 'zstd']) {
    const { image } = await service.pull(`${host}/test/${kind}:1`);
    const name = `${host}/mine/${kind}:2`;
    await give(image.imageId, name);
    const { digest, sizeBytes, progress } = await service.push(name);
    assert.deepEqual([digest, await seen(name)], [image.manifestDigest, image.manifestDigest], kind);
    assert.equal(sizeBytes, BigInt(shell(folder, `skopeo inspect --raw --tls-verify=false docker://${name} | wc -c`)));
    const last = new Set(
      progress.filter(({ status }) => !['waiting', 'uploading'].includes(status)).map((one) => one.status),
    );
    assert.deepEqual([...last], ['mounted'], 'the registry has all layers already, elsewhere');
    const { digestReferences } = (await service.images.getImage({ image: name, platform: '' })).image!;
    assert.ok(digestReferences.includes(`${host}/mine/${kind}@${digest}`));
  }
  const flags = '-q --insecure-policy --src-tls-verify=false';
  shell(
    folder,
    `skopeo copy ${flags} docker://${host}/mine/schema2:2 oci:back:1; umoci unpack --image back:1 back-root`,
  );
  assert.equal(describeTree(at('back-root/rootfs')), reference);
  await service.removeAll();
});

test('what was loaded is pushed as it was loaded, and can be pulled by the digest', { skip }, async () => {
  const name = `${registries.plain.host}/loaded/app:1`;
  shell(folder, `skopeo copy -q --insecure-policy oci:oci:sample docker-archive:archive.tar:${name}`);
  const [image] = await service.load(at('archive.tar'));
  const { digest, progress } = await service.push(name);
  assert.equal(digest, image?.manifestDigest);
  assert.equal(await seen(name), digest);
  assert.ok(progress.some(({ status }) => status === 'uploading'));
  await service.removeAll();
  const pulled = await service.pull(`${registries.plain.host}/loaded/app@${digest}`);
  assert.equal(pulled.image.imageId, image?.imageId);
  assert.equal(await service.withMounted(pulled.image.imageId, describeTree), reference);
});

test('TLS through a proxy: not without its authority; a password; tokens for push and pull', { skip }, async () => {
  const [image] = await service.load(at('archive.tar'));
  const { basic, secure, token, tokens } = registries;
  const names = {
    secure: 'registry.test:5000/test/app:1',
    basic: `${basic.host}/test/app:1`,
    token: `${token.host}/test/app:1`,
  };
  for (const name of Object.values(names)) await give(image!.imageId, name);
  await assert.rejects(service.push(names.secure), { reason: 'REGISTRY_UNTRUSTED' });
  mkdirSync(at('certs.d/registry.test:5000'));
  shell(folder, 'cp ca.crt certs.d/registry.test:5000/own.crt');
  const { digest } = await service.push(names.secure);
  assert.equal(await seen(`127.0.0.1:${secure.port}/test/app:1`), digest);
  for (const name of [names.basic, names.token]) {
    await assert.rejects(service.push(name), { reason: 'REGISTRY_UNAUTHORIZED', code: 'unauthenticated' });
    await assert.rejects(service.push(name, { auth: { username, password: 'no' } }), {
      reason: 'REGISTRY_UNAUTHORIZED',
    });
    tokens.asked.length = 0;
    assert.equal((await service.push(name, { auth: { username, password } })).digest, digest);
    assert.equal(await seen(name, '--creds', `${username}:${password}`), digest);
  }
  assert.deepEqual(tokens.asked.slice(0, 1), ['GET']);
  // Known to be in another repository there: one token for both.
  await give(image!.imageId, `${token.host}/other/app:1`);
  tokens.asked.length = 0;
  const again = await service.push(`${token.host}/other/app:1`, { auth: { identityToken: refreshToken } });
  assert.deepEqual(tokens.asked, ['POST refresh_token']);
  assert.ok(again.progress.every(({ status }) => ['waiting', 'mounted'].includes(status)));
});

test('a connection to docker-registry that breaks at 90 %: pushed all the same, and twice at once', {
  skip,
}, async () => {
  await using dropping = await DroppingProxy.start(registries.plain.port);
  const [image] = await service.load(at('archive.tar'));
  const size = Math.max(
    ...(
      JSON.parse(
        readFileSync(join(service.root, 'image/content/blobs/sha256', image!.manifestDigest.slice(7)), 'utf8'),
      ) as { layers: { size: number }[] }
    ).layers.map((layer) => layer.size),
  );
  dropping.drop(2, Math.floor(size * 0.9));
  const name = `${dropping.host}/dropped/app:1`;
  await give(image!.imageId, name);
  const [one, two] = await Promise.all([service.push(name), service.push(name)]);
  assert.deepEqual([one.digest, two.digest, dropping.left], [image!.manifestDigest, image!.manifestDigest, 0]);
  assert.equal(await seen(`${registries.plain.host}/dropped/app:1`), one.digest);
  await service.removeAll();
  assert.deepEqual(await service.leftovers(), []);
});
