import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';
import type { PortMapping } from '@flotilla/proto/flotilla/v1/network';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';

export function portCommand(): Command {
  return new Command('port')
    .argument('<container>')
    .argument('[private-port]', 'port in the container, with an optional /tcp or /udp')
    .action(async (name: string, wanted: string | undefined) => {
      const { container } = await withEngine((engine) => engine.containers.getContainer({ container: name }));
      process.stdout.write(formatPublished(container?.ports ?? [], name, wanted));
    });
}

/** `80/tcp -> 0.0.0.0:8080` of all; of one that is asked for, its addresses alone. NOT_FOUND / PORT_NOT_PUBLISHED. */
export function formatPublished(ports: readonly PortMapping[], name: string, wanted: string | undefined): string {
  const published = ports
    .filter(({ hostPort }) => hostPort > 0)
    .map(({ containerPort, protocol, hostIp, hostPort }) => ({
      port: `${containerPort}/${protocol || 'tcp'}`,
      address: `${hostIp.includes(':') ? `[${hostIp}]` : hostIp || '0.0.0.0'}:${hostPort}`,
    }));
  if (wanted === undefined) return published.map(({ port, address }) => `${port} -> ${address}\n`).join('');
  if (!/^\d{1,5}(\/(tcp|udp|sctp))?$/.test(wanted))
    throw invalidField('private-port', 'a port as 80 or 53/udp', wanted);
  const port = wanted.includes('/') ? wanted : `${wanted}/tcp`;
  const found = published.filter((one) => one.port === port);
  if (found.length > 0) return found.map(({ address }) => `${address}\n`).join('');
  throw new FlotillaError('not_found', `no public port '${port}' published for ${name}`, {
    reason: 'PORT_NOT_PUBLISHED',
    metadata: { port, container: name },
  });
}
