import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { PublishedPort } from '../domain/records.ts';

/** A process that has a port. */
export interface PortOwner {
  readonly pid: number;
  /** Its name in the process table. */
  readonly command: string;
}

/** Looks in /proc for who has a port; for an error's text only: it takes a while on a busy host. */
export function findPortOwner({ protocol, hostPort, hostIp }: PublishedPort): PortOwner | undefined {
  const inodes = new Set([
    ...socketsAt(`/proc/self/net/${protocol}`, hostPort, hostIp),
    ...socketsAt(`/proc/self/net/${protocol}6`, hostPort, ''),
  ]);
  return inodes.size === 0 ? undefined : findOwner(inodes);
}

/** proc_net_tcp: the second column is the local address, the fourth the state (0A listens, 07 is UDP's), the tenth the inode. */
function socketsAt(file: string, port: number, hostIp: string): string[] {
  const wantedPort = port.toString(16).toUpperCase().padStart(4, '0');
  const wantedIp = hostIp === '' ? undefined : hexOf(hostIp);
  return read(file)
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => {
      const [ip, localPort] = local.split(':');
      const sameAddress = wantedIp === undefined || ip === wantedIp || /^0+$/.test(ip ?? '');
      return localPort === wantedPort && sameAddress && (state === '0A' || state === '07');
    })
    .map((columns) => columns[9] ?? '')
    .filter((inode) => inode !== '' && inode !== '0');
}

function hexOf(ip: string): string {
  return Buffer.from(ip.split('.').map(Number)).readUInt32LE().toString(16).toUpperCase().padStart(8, '0');
}

function findOwner(inodes: ReadonlySet<string>): PortOwner | undefined {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (descriptorsOf(pid).some((target) => inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? ''))) {
      return { pid: Number(pid), command: read(`/proc/${pid}/comm`).trim() };
    }
  }
  return undefined;
}

function descriptorsOf(pid: string): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).map((fd) => {
      try {
        return readlinkSync(`${folder}/${fd}`);
      } catch {
        return ''; // Closed meanwhile.
      }
    });
  } catch {
    return []; // Gone meanwhile.
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
