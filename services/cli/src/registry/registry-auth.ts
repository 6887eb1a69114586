import { RegistryAuth } from '@flotilla/proto/flotilla/v1/image';
import { askCredentialHelper } from './credential-helper.ts';
import { type DockerConfig, dockerConfigPath, readDockerConfig, type StoredLogin } from './docker-config.ts';

/** What Docker calls its own registry in settings and to helpers. */
const dockerHub = 'https://index.docker.io/v1/';

/**
 * Who this user is to a registry, as `docker login` left it: by a helper for that registry, by the helper for all, or in
 * the file itself. Nobody, with a warning, when a helper fails: what is public needs none.
 */
export async function findRegistryAuth(
  domain: string,
  env: NodeJS.ProcessEnv,
  warn: (text: string) => void,
): Promise<RegistryAuth> {
  const config = readDockerConfig(dockerConfigPath(env), warn);
  const registry = domain === 'docker.io' ? dockerHub : domain;
  const helper = config.credHelpers[registry] ?? config.credsStore;
  if (helper === undefined) return fromFile(config, registry);
  try {
    const login = await askCredentialHelper(helper, registry);
    if (login === undefined) return RegistryAuth.create();
    const { username, secret } = login;
    return username === '<token>'
      ? RegistryAuth.fromPartial({ identityToken: secret })
      : RegistryAuth.fromPartial({ username, password: secret });
  } catch (error) {
    warn(`no log-in for ${domain}: ${(error as Error).message}`);
    return RegistryAuth.create();
  }
}

function fromFile({ auths }: DockerConfig, registry: string): RegistryAuth {
  // Older clients wrote addresses with scheme and path.
  const key = [registry, ...Object.keys(auths)].find((one) => one in auths && hostOf(one) === hostOf(registry));
  const login = key === undefined ? {} : auths[key]!;
  return RegistryAuth.fromPartial({
    ...nameAndPassword(login),
    identityToken: login.identitytoken ?? '',
    registryToken: login.registrytoken ?? '',
  });
}

function hostOf(address: string): string {
  return address.replace(/^https?:\/\//, '').split('/', 1)[0] ?? '';
}

function nameAndPassword({ auth, username = '', password = '' }: StoredLogin) {
  if (auth === undefined || auth === '') return { username, password };
  const decoded = Buffer.from(auth, 'base64').toString();
  const colon = decoded.indexOf(':');
  if (colon === -1) return { username, password };
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, '') };
}
