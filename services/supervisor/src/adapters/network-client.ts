import { EndpointServiceService, type SandboxSpec } from '@flotilla/proto/flotilla/network/v1/endpoint';
import { type Client, connect } from '@flotilla/rpc';
import type { Attached, Networks, SandboxWish } from '../domain/ports.ts';

/** The network service. */
export class NetworkClient implements Networks, Disposable {
  readonly #client: Client<typeof EndpointServiceService>;

  constructor(address: string, deadlineMs: number) {
    this.#client = connect(EndpointServiceService, { address, name: 'network', deadlineMs, retry: true });
  }

  async check(wish: SandboxWish): Promise<readonly string[]> {
    const { warnings } = await this.#client.checkAttachment({ spec: toSpec(wish) });
    return warnings;
  }

  async attach(wish: SandboxWish): Promise<Attached> {
    return this.#client.attachSandbox({ spec: toSpec(wish) });
  }

  async detach(sandboxId: string): Promise<void> {
    await this.#client.detachSandbox({ sandboxId });
  }

  async listSandboxes(): Promise<readonly string[]> {
    const { sandboxIds } = await this.#client.listSandboxes({});
    return sandboxIds;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

function toSpec({ sandboxId, network, aliases, ports, sysctls, ...rest }: SandboxWish): SandboxSpec {
  const { ipv4Address, ipv6Address, macAddress, hostname, name } = rest;
  return {
    sandboxId,
    mode: 'bridge',
    attachments: [{ network, aliases: [...aliases], ipv4Address, ipv6Address, macAddress }],
    ports: [...ports],
    hostname,
    name,
    sysctls: { ...sysctls },
  };
}
