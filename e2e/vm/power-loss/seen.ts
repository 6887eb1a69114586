import type { GrpcClient } from '../../harness/grpc-client.ts';

/** A container as the engine tells of it. */
export interface Seen {
  readonly container_id: string;
  readonly name: string;
  readonly status: { readonly state: string; readonly exit_code: number; readonly error: string };
}

/** All containers, by name. */
export async function listContainers(client: GrpcClient): Promise<ReadonlyMap<string, Seen>> {
  const { containers } = await client.call('ContainerService', 'ListContainers', { all: true });
  return new Map((containers as Seen[]).map((one) => [one.name, one]));
}
