import type { ContainerRecord } from './container.ts';
import type { Engine } from './engine.ts';
import { type ResolvedUser, resolveUser } from './users.ts';

/**
 * Finds whom a container's process runs as, in the container's own files. Before the first run these are the image's.
 * INVALID_ARGUMENT / USER_NOT_FOUND, GROUP_NOT_FOUND, INVALID_FIELD.
 */
export async function findUser(
  { images }: Pick<Engine, 'images'>,
  { containerId, made, run }: ContainerRecord,
  user: string,
  groupAdd: readonly string[],
): Promise<ResolvedUser> {
  const file = { containerId, imageId: made!.imageId, fresh: run > 1 };
  const [passwd, group] = await Promise.all([
    images.readFile({ ...file, path: '/etc/passwd' }),
    images.readFile({ ...file, path: '/etc/group' }),
  ]);
  return resolveUser({ user, groupAdd, passwd, group });
}
