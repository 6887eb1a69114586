import { FlotillaError, invalidField } from '@flotilla/errors';
import { closeFd, isErrno } from '@flotilla/linux';
import { type HeldPort, holdPort } from '@flotilla/linux/inet-sockets';
import { formatIpv4, parseIpv4 } from '../domain/ipv4.ts';
import type { PublishedPort } from '../domain/records.ts';
import { findPortOwner } from './port-owner.ts';

/**
 * Holds published ports with sockets, so that the kernel refuses them to every other program, other instances included.
 * Packets never reach these sockets: rules of nft(8) send them on before.
 */
export class PortHolder implements Disposable {
  readonly #held = new Map<string, { readonly fd: number; readonly sandboxId: string }>();

  /**
   * Takes all ports or none, and says which: those asked for as 0 are chosen. ALREADY_EXISTS / PORT_IN_USE names address,
   * port and, where known, who has it. INVALID_FIELD for an address that is none of this host's.
   */
  hold(sandboxId: string, ports: readonly PublishedPort[]): PublishedPort[] {
    const taken: PublishedPort[] = [];
    try {
      for (const [i, port] of ports.entries()) taken.push(this.#holdOne(sandboxId, port, i));
    } catch (error) {
      this.release(taken);
      throw error;
    }
    return taken;
  }

  /** Gives ports up. */
  release(ports: readonly PublishedPort[]): void {
    for (const port of ports) {
      const held = this.#held.get(keyOf(port));
      if (held !== undefined) closeFd(held.fd);
      this.#held.delete(keyOf(port));
    }
  }

  #holdOne(sandboxId: string, port: PublishedPort, i: number): PublishedPort {
    const address = parseIpv4(port.hostIp) ?? 0;
    const bytes = Buffer.from(formatIpv4(address).split('.').map(Number));
    let held: HeldPort;
    try {
      held = holdPort({ protocol: port.protocol, address: bytes, port: port.hostPort });
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE')) throw this.#portInUse(port, error);
      if (isErrno(error, 'EADDRNOTAVAIL')) {
        throw invalidField(`spec.ports[${i}].host_ip`, 'an address of this host', port.hostIp);
      }
      throw error;
    }
    const chosen = { ...port, hostPort: held.port };
    this.#held.set(keyOf(chosen), { fd: held.fd, sandboxId });
    return chosen;
  }

  #portInUse(port: PublishedPort, cause: unknown): FlotillaError {
    const { hostIp, hostPort, protocol } = port;
    const address = hostIp === '' ? '0.0.0.0' : hostIp;
    const sandboxId = this.#findHolder(port);
    const owner = sandboxId === undefined ? findPortOwner(port) : undefined;
    const by =
      sandboxId !== undefined
        ? ` by container ${sandboxId}`
        : owner !== undefined
          ? ` by ${owner.command} (pid ${owner.pid})`
          : '';
    return new FlotillaError('already_exists', `port ${address}:${hostPort}/${protocol} is in use${by}`, {
      reason: 'PORT_IN_USE',
      metadata: {
        address,
        port: String(hostPort),
        protocol,
        ...(sandboxId === undefined ? {} : { sandboxId }),
        ...(owner === undefined ? {} : { pid: String(owner.pid), command: owner.command }),
      },
      cause,
    });
  }

  #findHolder({ hostIp, hostPort, protocol }: PublishedPort): string | undefined {
    for (const [key, { sandboxId }] of this.#held) {
      const [heldProtocol, heldIp, heldPort] = key.split(' ');
      const sameAddress = hostIp === '' || heldIp === '' || heldIp === hostIp;
      if (heldProtocol === protocol && sameAddress && heldPort === String(hostPort)) return sandboxId;
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#held.values()) closeFd(fd);
    this.#held.clear();
  }
}

function keyOf({ hostIp, hostPort, protocol }: PublishedPort): string {
  return `${protocol} ${hostIp} ${hostPort}`;
}
