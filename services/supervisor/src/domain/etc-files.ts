import type { ContainerConfig } from './container-config.ts';
import type { Attached, EtcContent } from './ports.ts';
import type { Mode } from './validation/modes.ts';
import { parseExtraHost } from './validation/network.ts';

export interface EtcInput {
  readonly config: ContainerConfig;
  readonly mode: Mode;
  readonly hostname: string;
  /** Undefined in modes host and none. */
  readonly attached: Attached | undefined;
  /** The host's own files. */
  readonly host: { readonly hosts: string; readonly resolvConf: string };
}

const localHosts = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** Content of /etc/hostname, /etc/hosts and /etc/resolv.conf: hostname(5), hosts(5), resolv.conf(5). */
export function etcContent(input: EtcInput): EtcContent {
  return { hostname: `${input.hostname}\n`, hosts: hostsFile(input), resolvConf: resolvConf(input) };
}

function hostsFile({ config, mode, hostname, attached, host }: EtcInput): string {
  const extra = config.extraHosts.flatMap((line, index) => {
    const { name, address } = parseExtraHost(line, `extra_hosts[${index}]`);
    const known = address === 'host-gateway' ? (attached?.hostGateway ?? '') || '127.0.0.1' : address;
    return [`${known}\t${name}`];
  });
  if (mode.kind === 'host') return `${[host.hosts.trimEnd(), ...extra].join('\n')}\n`;
  const names = config.domainname === '' ? hostname : `${hostname}.${config.domainname} ${hostname}`;
  const own = (attached?.endpoints ?? [])
    .flatMap(({ ipv4Address, ipv6Address }) => [ipv4Address, ipv6Address])
    .filter((address) => address !== '')
    .map((address) => `${address.split('/')[0]}\t${names}`);
  return `${[...localHosts, ...extra, ...own].join('\n')}\n`;
}

function resolvConf({ config, attached, host }: EtcInput): string {
  const asked = config.dns.length + config.dnsSearch.length + config.dnsOptions.length > 0;
  if (attached === undefined && !asked) return host.resolvConf;
  const base = attached ?? parseResolvConf(host.resolvConf);
  const servers = config.dns.length > 0 ? config.dns : base.nameservers;
  const search = config.dnsSearch.length > 0 ? config.dnsSearch : base.searchDomains;
  const options = config.dnsOptions.length > 0 ? config.dnsOptions : base.dnsOptions;
  // Docker: a single dot as search domain means none.
  const none = search.length === 1 && search[0] === '.';
  const lines = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(search.length > 0 && !none ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ];
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function parseResolvConf(text: string): Pick<Attached, 'nameservers' | 'searchDomains' | 'dnsOptions'> {
  const words = (keyword: string) =>
    text
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([first]) => first === keyword)
      .flatMap(([, ...rest]) => rest);
  return { nameservers: words('nameserver'), searchDomains: words('search'), dnsOptions: words('options') };
}
