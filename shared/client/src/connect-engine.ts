import process from 'node:process';
import { KeeperServiceService } from '@flotilla/proto/flotilla/keeper/v1/keeper';
import { ContainerServiceService } from '@flotilla/proto/flotilla/v1/container';
import { EventServiceService } from '@flotilla/proto/flotilla/v1/event';
import { ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { NetworkServiceService } from '@flotilla/proto/flotilla/v1/network';
import { SystemServiceService } from '@flotilla/proto/flotilla/v1/system';
import { VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { type Client, connect } from '@flotilla/rpc/connect';

/** The engine's public services, all over one connection, so that calls reach it in the order in which they were made. */
export interface Engine extends Disposable {
  readonly address: string;
  readonly containers: Methods<typeof ContainerServiceService>;
  readonly execs: Methods<typeof ExecServiceService>;
  readonly images: Methods<typeof ImageServiceService>;
  readonly volumes: Methods<typeof VolumeServiceService>;
  readonly networks: Methods<typeof NetworkServiceService>;
  readonly events: Methods<typeof EventServiceService>;
  readonly system: Methods<typeof SystemServiceService>;
  readonly version: Methods<typeof VersionServiceService>;
}

type Methods<Service extends Parameters<typeof connect>[0]> = Omit<Client<Service>, typeof Symbol.dispose>;

export interface EngineOptions {
  /** How long a unary call may take, its wait for the engine included; 10 s when absent. */
  readonly deadlineMs?: number;
}

/** No two services have a method of the same name. */
const everything = {
  ...ContainerServiceService,
  ...ExecServiceService,
  ...ImageServiceService,
  ...VolumeServiceService,
  ...NetworkServiceService,
  ...EventServiceService,
  ...SystemServiceService,
  ...VersionServiceService,
} as const;

/**
 * Connects to an engine, at the first call. The address is `unix:///path/api.sock` or `host:port`; without one it is
 * FLOTILLA_HOST, else the socket below FLOTILLA_RUN. Calls fail with FlotillaError alone.
 */
export function connectEngine(address: string = engineAddress(), { deadlineMs }: EngineOptions = {}): Engine {
  const client = connect(everything, {
    address,
    name: 'api',
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });
  return {
    address,
    containers: client,
    execs: client,
    images: client,
    volumes: client,
    networks: client,
    events: client,
    system: client,
    version: client,
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

/** The process that keeps the others, on this host alone. */
export type KeeperClient = Client<typeof KeeperServiceService>;

/** Connects to the keeper of an instance, at the first call, by the path of its socket. */
export function connectKeeper(socketPath: string, { deadlineMs }: EngineOptions = {}): KeeperClient {
  return connect(KeeperServiceService, {
    address: `unix://${socketPath}`,
    name: 'keeper',
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });
}

/** Where the engine listens: FLOTILLA_HOST, else `api.sock` below FLOTILLA_RUN, else below its default folder. */
export function engineAddress(env: NodeJS.ProcessEnv = process.env): string {
  const { FLOTILLA_HOST: host, FLOTILLA_RUN: run } = env;
  if (host !== undefined && host !== '') return host;
  return `unix://${run === undefined || run === '' ? '/run/flotilla' : run.replace(/\/+$/, '')}/api.sock`;
}
