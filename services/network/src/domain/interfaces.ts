import type { NetworkRecord, ReleasedPlace, SandboxRecord } from './records.ts';

/** Where networks are stored. */
export interface NetworkRecords {
  add(network: NetworkRecord): void;
  /** By name. */
  list(): NetworkRecord[];
  setSubnet(networkId: string, subnet: string): void;
  findLastAddress(networkId: string): number | undefined;
  setLastAddress(networkId: string, address: number): void;
}

/** Where sandboxes are stored. */
export interface SandboxRecords {
  find(sandboxId: string): SandboxRecord | undefined;
  /** By id. */
  list(): SandboxRecord[];
  add(sandbox: SandboxRecord): void;
  markAttached(sandboxId: string): void;
  /** Forgets a sandbox; its place stays taken until {@link forgetReleased}. */
  release(sandbox: SandboxRecord): void;
  listReleased(): ReleasedPlace[];
  forgetReleased(hostLink: string): void;
  isTaken(networkId: string, address: string): boolean;
}

/** Does all of the work or nothing. */
export type Transact = <T>(work: () => T) => T;

/** Tells of something that happened to a network, in the transaction of the change. */
export type Announce = (
  action: 'create' | 'connect' | 'disconnect',
  network: NetworkRecord,
  attributes?: Readonly<Record<string, string>>,
) => void;

/** Says what people should know. */
export interface Notes {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
