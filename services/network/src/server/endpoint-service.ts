import { AttachSandboxResponse, EndpointServiceService } from '@flotilla/proto/flotilla/network/v1/endpoint';
import { type Implementation, implement } from '@flotilla/rpc';
import { readHostResolver } from '../adapters/host-resolver.ts';
import type { HostNetwork } from '../domain/host-network.ts';
import type { Networks } from '../domain/networks.ts';
import type { SandboxRecord } from '../domain/records.ts';
import type { Sandboxes } from '../domain/sandboxes.ts';
import { gatewayText, toEndpoint } from './to-proto.ts';

/** flotilla.network.v1.EndpointService, for the supervisor. */
export function endpointService(sandboxes: Sandboxes, networks: Networks, host: HostNetwork): Implementation {
  return implement(EndpointServiceService, {
    checkAttachment: async ({ spec }) => {
      const warnings = [...sandboxes.check(spec)];
      if (spec?.mode === 'bridge' && readHostResolver().nameservers.length === 0) {
        warnings.push('no name server of the host can be reached from inside: set one with --dns');
      }
      return { warnings };
    },
    attachSandbox: async ({ spec }, { log }) => {
      const startedAt = performance.now();
      const record = sandboxes.attach(spec);
      const durationMs = performance.now() - startedAt;
      log.info(
        { containerId: record.sandboxId, address: record.endpoint.place?.address, durationMs },
        'sandbox attached',
      );
      return toResponse(record, networks, host);
    },
    detachSandbox: async ({ sandboxId }, { log }) => {
      const startedAt = performance.now();
      sandboxes.detach(sandboxId);
      log.info({ containerId: sandboxId, durationMs: performance.now() - startedAt }, 'sandbox detached');
      return {};
    },
    listSandboxes: async () => ({ sandboxIds: sandboxes.list().map(({ sandboxId }) => sandboxId) }),
  });
}

function toResponse(record: SandboxRecord, networks: Networks, host: HostNetwork): AttachSandboxResponse {
  const network = networks.get(record.endpoint.networkId);
  const { nameservers, searchDomains, options } = readHostResolver();
  return AttachSandboxResponse.fromPartial({
    netnsPath: record.mode === 'host' ? '' : host.netnsPath(record.sandboxId),
    endpoints: [toEndpoint(record, network)],
    ports: record.ports.map((port) => ({ ...port })),
    nameservers: [...nameservers],
    searchDomains: [...searchDomains],
    dnsOptions: [...options],
    hostGateway: record.mode === 'host' ? '127.0.0.1' : gatewayText(network.subnet),
  });
}
