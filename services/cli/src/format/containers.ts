import type { Container, ContainerState, Health } from '@flotilla/proto/flotilla/v1/container';
import type { PortMapping } from '@flotilla/proto/flotilla/v1/network';
import { ellipsis, formatDate, formatSince, shortId } from './human.ts';
import type { Column, Row } from './table.ts';

export const containerColumns: readonly Column[] = [
  { field: 'ID', title: 'CONTAINER ID' },
  { field: 'Image', title: 'IMAGE' },
  { field: 'Command', title: 'COMMAND' },
  { field: 'RunningFor', title: 'CREATED' },
  { field: 'Status', title: 'STATUS' },
  { field: 'Ports', title: 'PORTS' },
  { field: 'Names', title: 'NAMES' },
];

export interface ContainerRowOptions {
  readonly truncate: boolean;
  readonly nowMs: number;
}

/** What `ps` says of a container, in Docker's fields. */
export function containerRow(container: Container, { truncate, nowMs }: ContainerRowOptions): Row {
  const { config, status } = container;
  const command = container.args.map(quoteArgument).join(' ');
  const labels = Object.entries(config?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  const mounts = container.mounts.map(({ source, target }) => source || target);
  return {
    ID: truncate ? shortId(container.containerId) : container.containerId,
    Image: config?.image ?? '',
    Command: JSON.stringify(truncate ? ellipsis(command, 20) : command),
    CreatedAt: formatDate(container.createdAtUnixNano),
    RunningFor: `${formatSince(container.createdAtUnixNano, nowMs)} ago`,
    Status: formatStatus(container, nowMs),
    State: status === undefined ? '' : status.restarting ? 'restarting' : stateWord(status.state),
    Ports: formatPorts(container.ports, config?.exposedPorts ?? []),
    Names: container.name,
    Labels: labels.join(','),
    Mounts: (truncate ? mounts.map((mount) => ellipsis(mount, 15)) : mounts).join(','),
    Networks: container.endpoints.map(({ networkName }) => networkName).join(',') || (config?.networkMode ?? ''),
  };
}

/** `running` of `CONTAINER_STATE_RUNNING`. */
export function stateWord(state: ContainerState | 'UNRECOGNIZED'): string {
  return state.replace(/^CONTAINER_STATE_/, '').toLowerCase();
}

/** `Up 2 minutes (healthy)`, `Up 2 minutes (Paused)`, `Exited (137) 3 hours ago`, `Restarting (1) 5 seconds ago`, `Created`. */
export function formatStatus({ status }: Container, nowMs: number): string {
  if (status === undefined) return '';
  const word = stateWord(status.state);
  const up = () => `Up ${formatSince(status.startedAtUnixNano, nowMs)}`;
  switch (word) {
    case 'running':
      return up() + healthWord(status.health);
    case 'paused':
      return `${up()} (Paused)`;
    case 'stopping':
      return `${up()} (Stopping)`;
    case 'pausing':
      return `${up()} (Pausing)`;
    case 'exited':
      return `${status.restarting ? 'Restarting' : 'Exited'} (${status.exitCode}) ${formatSince(status.finishedAtUnixNano, nowMs)} ago`;
    case 'creating':
      return 'Creating';
    case 'starting':
      return 'Starting';
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    default:
      return 'Created';
  }
}

function healthWord(health: Health | undefined): string {
  const word = health?.status.replace(/^HEALTH_STATUS_/, '').toLowerCase();
  if (word === undefined || word === 'unspecified') return '';
  return word === 'starting' ? ' (health: starting)' : ` (${word})`;
}

/** `0.0.0.0:8080->80/tcp, 443/tcp`: published ports, then those that are shown only. */
export function formatPorts(ports: readonly PortMapping[], exposed: readonly string[]): string {
  const published = ports.map(
    ({ hostIp, hostPort, containerPort, protocol }) =>
      `${formatAddress(hostIp)}:${hostPort}->${containerPort}/${protocol || 'tcp'}`,
  );
  const inside = new Set(ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol || 'tcp'}`));
  return [...published, ...exposed.filter((port) => !inside.has(port))].join(', ');
}

function formatAddress(ip: string): string {
  if (ip === '') return '0.0.0.0';
  return ip.includes(':') ? `[${ip}]` : ip;
}

function quoteArgument(argument: string): string {
  return argument !== '' && /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
