import type { HostNetwork } from './host-network.ts';
import type { Notes, SandboxRecords } from './interfaces.ts';
import type { Networks } from './networks.ts';
import type { SandboxRecord } from './records.ts';
import type { ReleasedLinks } from './released-links.ts';
import type { Sandboxes } from './sandboxes.ts';

export interface ReconcileOptions {
  readonly records: SandboxRecords;
  readonly networks: Networks;
  readonly sandboxes: Sandboxes;
  readonly released: ReleasedLinks;
  readonly host: HostNetwork;
  readonly notes: Notes;
}

/**
 * Compares the records with the kernel's truth after a start: forgets sandboxes that are no more, removes what is this
 * instance's and nobody's, mends the rest. What is as it should be is not touched, so packets pass all the while.
 */
export function reconcile({ records, networks, sandboxes, released, host, notes }: ReconcileOptions): void {
  for (const record of records.list()) {
    if (isAlive(record, host)) continue;
    notes.warn({ containerId: record.sandboxId, state: record.state }, 'the sandbox is no more, forgetting it');
    sandboxes.forget(record);
  }
  const alive = records.list();
  host.startNamespaces(new Set(alive.filter(({ mode }) => mode !== 'host').map(({ sandboxId }) => sandboxId)));
  const bridged = alive.filter(({ mode }) => mode === 'bridge');
  if (bridged.length > 0 || host.isBridgeThere()) networks.ensureBridge();
  const { mended, orphans } = host.repairLinks(bridged);
  if (mended.length > 0) notes.warn({ containerIds: mended }, 'links were missing, made them anew');
  for (const { hostLink } of records.listReleased()) released.watch(hostLink);
  for (const hostLink of orphans) released.watch(hostLink);
  for (const record of bridged) holdAgain(record, host, notes);
}

/** One that was half made when the process ended was acknowledged to nobody; one without its pin ended with the host. */
function isAlive({ sandboxId, mode, state }: SandboxRecord, host: HostNetwork): boolean {
  return state === 'attached' && (mode === 'host' || host.hasNamespace(sandboxId));
}

/** While no process of ours held the ports, another program may have taken one; the rules go before it all the same. */
function holdAgain({ sandboxId, ports }: SandboxRecord, host: HostNetwork, notes: Notes): void {
  for (const port of ports) {
    try {
      host.holdPorts(sandboxId, [port]);
    } catch (err) {
      notes.warn(
        { err, containerId: sandboxId, port: port.hostPort },
        'a published port is in use by somebody else too',
      );
    }
  }
}
