import type { BridgePlace, PortRule, PublishedPort, SandboxRecord } from './records.ts';

/** What was found when records and links were compared. */
export interface LinkRepair {
  /** Sandboxes that got a new link, or whose link was put back on the bridge. */
  readonly mended: readonly string[];
  /** Links of this instance that belong to nobody. */
  readonly orphans: readonly string[];
}

/** The kernel's side of networks: namespaces, links, rules, ports. All calls are done when they return. */
export interface HostNetwork {
  /** Name of the instance's bridge link. */
  readonly bridgeLink: string;
  /** Beginning of the names of the instance's other links. */
  readonly linkPrefix: string;
  /** Makes or mends the bridge and puts all rules in place. Gives its range, `wanted` if possible. */
  ensureBridge(wanted: string | undefined, rules: () => readonly PortRule[]): string;
  isBridgeThere(): boolean;
  /** Makes a sandbox's namespace, with a link when it has a place, and sets kernel parameters in it. */
  build(sandboxId: string, place: BridgePlace | undefined, sysctls: Readonly<Record<string, string>>): void;
  /** Lets go of a sandbox's namespace; its link goes once nothing runs in it. */
  release(sandboxId: string): void;
  /** File that pins a sandbox's namespace. */
  netnsPath(sandboxId: string): string;
  hasNamespace(sandboxId: string): boolean;
  /** Removes namespaces that are no sandbox's, and makes some ready. */
  startNamespaces(sandboxIds: ReadonlySet<string>): void;
  /** Compares records with links, and mends. */
  repairLinks(sandboxes: readonly SandboxRecord[]): LinkRepair;
  isLinkThere(hostLink: string): boolean;
  /** Waits for the kernel to take the link away; no error when it is gone. */
  removeLink(hostLink: string): void;
  holdPorts(sandboxId: string, ports: readonly PublishedPort[]): PublishedPort[];
  releasePorts(ports: readonly PublishedPort[]): void;
  /** `all` is asked for when the rules are not as they were left. */
  publish(rules: readonly PortRule[], all: () => readonly PortRule[]): void;
  unpublish(rules: readonly PortRule[], all: () => readonly PortRule[]): void;
  /** Whether the rules are there at all; somebody may have flushed them. */
  hasRules(): boolean;
}
