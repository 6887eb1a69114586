/** A network as stored. */
export interface NetworkRecord {
  /** 64 hexadecimal digits. */
  readonly networkId: string;
  readonly name: string;
  readonly driver: 'bridge' | 'host' | 'none';
  readonly createdAtUnixNano: bigint;
  /** `172.30.0.0/16`; absent until first use, and for other drivers. */
  readonly subnet: string | undefined;
}

export type SandboxMode = 'bridge' | 'host' | 'none';

/** A port of a sandbox made reachable on the host. */
export interface PublishedPort {
  /** Empty: all addresses. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp';
}

/** A sandbox's place on a bridge. */
export interface BridgePlace {
  /** Name of the host's end of the pair. */
  readonly hostLink: string;
  /** `172.30.0.2`. */
  readonly address: string;
  readonly mac: string;
}

/** A sandbox's place in a network. */
export interface EndpointRecord {
  readonly endpointId: string;
  readonly networkId: string;
  /** Absent for the host's network and for none. */
  readonly place: BridgePlace | undefined;
}

/** A sandbox as stored. */
export interface SandboxRecord {
  readonly sandboxId: string;
  readonly mode: SandboxMode;
  /** `attaching`: written down before anything is made, so that what a crash left half made is found and removed. */
  readonly state: 'attaching' | 'attached';
  readonly endpoint: EndpointRecord;
  readonly ports: readonly PublishedPort[];
}

/** A place whose link the kernel has yet to take away; until then nobody gets the address. */
export interface ReleasedPlace {
  readonly hostLink: string;
  readonly address: string;
}

/** A published port with where its packets go. */
export interface PortRule extends PublishedPort {
  /** Of the sandbox. */
  readonly address: string;
}

/** The rules that a sandbox's ports need. */
export function portRulesOf({ endpoint: { place }, ports }: SandboxRecord): PortRule[] {
  return place === undefined ? [] : ports.map((port) => ({ ...port, address: place.address }));
}
