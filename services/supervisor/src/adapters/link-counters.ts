import type { LinkUsage } from '../domain/observation.ts';

/** Lines of /proc/PID/net/dev (proc_pid_net(5)), of which the first two are heads. The loopback is nobody's traffic. */
export function parseLinkCounters(text: string): readonly LinkUsage[] {
  const links: LinkUsage[] = [];
  for (const line of text.split('\n').slice(2)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim();
    if (colon === -1 || name === 'lo') continue;
    const fields = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    const [receivedBytes = 0, receivedPackets = 0, receivedErrors = 0, receivedDropped = 0] = fields;
    const [sentBytes = 0, sentPackets = 0, sentErrors = 0, sentDropped = 0] = fields.slice(8);
    const received = { receivedBytes, receivedPackets, receivedErrors, receivedDropped };
    links.push({ name, ...received, sentBytes, sentPackets, sentErrors, sentDropped });
  }
  return links;
}
