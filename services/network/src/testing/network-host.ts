import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { umount } from '@flotilla/linux';
import {
  addAddress,
  addRoute,
  addVethPair,
  createNetworkNamespace,
  getLink,
  insideNetworkNamespace,
  type Link,
  listLinks,
  NetlinkSocket,
  setLink,
} from '@flotilla/linux/netlink';
import { Nftables } from '@flotilla/linux/nftables';
import {
  type AttachSandboxResponse,
  EndpointServiceService,
  type SandboxSpec,
} from '@flotilla/proto/flotilla/network/v1/endpoint';
import { NetworkServiceService } from '@flotilla/proto/flotilla/v1/network';
import { type Client, connect } from '@flotilla/rpc';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const node = process.execPath;

/** What a test asks for, the rest as it usually is. */
export type SpecOf = { readonly sandboxId: string } & Partial<SandboxSpec>;

/**
 * A host of its own for the service: a network namespace with `lo`, and a second one, `outside`, that is another host on
 * the same wire. Host 198.51.100.1, outside 198.51.100.2.
 */
export class NetworkHost implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'fl-net-'));
  readonly hostFd = createNetworkNamespace();
  readonly outsideFd = createNetworkNamespace();
  readonly #stack = new DisposableStack();
  readonly #children = new Set<ChildProcess>();
  #service: ChildProcess | undefined;

  readonly host = this.#stack.use(new NetlinkSocket({ netnsFd: this.hostFd }));
  readonly outside = this.#stack.use(new NetlinkSocket({ netnsFd: this.outsideFd }));
  readonly nftables = this.#stack.use(new Nftables({ netnsFd: this.hostFd }));
  readonly endpoints: Client<typeof EndpointServiceService>;
  readonly networks: Client<typeof NetworkServiceService>;

  constructor() {
    this.host.execute(
      setLink({ name: 'lo' }, { up: true }),
      addVethPair({ name: 'uplink', up: true, peer: { name: 'wire', netnsFd: this.outsideFd } }),
    );
    this.outside.execute(setLink({ name: 'lo' }, { up: true }), setLink({ name: 'wire' }, { up: true }));
    const uplink = getLink(this.host, { name: 'uplink' }).index;
    const wire = getLink(this.outside, { name: 'wire' }).index;
    this.host.execute(
      addAddress({ link: uplink, address: '198.51.100.1/24' }),
      addRoute({ destination: '0.0.0.0/0', gateway: '198.51.100.2' }),
    );
    this.outside.execute(addAddress({ link: wire, address: '198.51.100.2/24' }));
    const address = `unix://${this.run}/network.sock`;
    this.endpoints = this.#stack.use(connect(EndpointServiceService, { address, name: 'network', retry: true }));
    this.networks = this.#stack.use(connect(NetworkServiceService, { address, name: 'network', retry: true }));
  }

  get run(): string {
    return join(this.folder, 'run');
  }

  /** Starts the service and waits until it answers. */
  async startService(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const logFd = openSync(join(this.folder, 'log'), 'a');
    this.#service = spawn('nsenter', ['--net=/proc/self/fd/3', node, main], {
      stdio: ['ignore', logFd, logFd, this.hostFd],
      env: {
        ...process.env,
        FLOTILLA_ROOT: join(this.folder, 'root'),
        FLOTILLA_RUN: this.run,
        FLOTILLA_NATS_URL: 'nats://127.0.0.1:1',
        ...env,
      },
    });
    closeSync(logFd);
    await this.networks.listNetworks({ names: [], drivers: [], labels: [] });
  }

  /** Ends the service and waits for its end. */
  async stopService(signal: NodeJS.Signals): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    if (service === undefined || service.exitCode !== null || service.signalCode !== null) return;
    const ended = once(service, 'exit');
    service.kill(signal);
    await ended;
  }

  /** The service's log lines that have a message. */
  logged(message: string): Record<string, unknown>[] {
    const lines = readFileSync(join(this.folder, 'log'), 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === message);
  }

  attach(spec: SpecOf): Promise<AttachSandboxResponse> {
    return this.endpoints.attachSandbox({ spec: fullSpec(spec) });
  }

  async detach(...sandboxIds: readonly string[]): Promise<void> {
    for (const sandboxId of sandboxIds) await this.endpoints.detachSandbox({ sandboxId });
  }

  /** Runs a program in a namespace and gives its output; rejects when it fails. */
  async inside(netns: number | string, program: string, ...args: readonly string[]): Promise<string> {
    const child = this.#spawn(netns, program, args);
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit code ${code}: ${output}`);
    return output;
  }

  /** Starts a server that answers each connection to a TCP port and each datagram to a UDP port with its name and the peer's address. */
  async serve(netns: number | string, name: string, ports: { tcp?: number; udp?: number }): Promise<void> {
    const child = this.#spawn(netns, node, ['-e', serverScript, name, String(ports.tcp ?? 0), String(ports.udp ?? 0)]);
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new Error('no output');
    const failed = once(stderr, 'data').then(([text]) => {
      throw new Error(String(text));
    });
    await Promise.race([once(stdout, 'data'), failed]);
    failed.catch(() => {});
  }

  /** Starts a script of Node.js in a namespace; {@link endServers} ends it. */
  start(netns: number | string, script: string): ChildProcess {
    return this.#spawn(netns, node, ['-e', script]);
  }

  /** Asks a server of {@link serve} in one try of at most a second: `name peer`. */
  async ask(netns: number | string, protocol: 'tcp' | 'udp', address: string, port: number): Promise<string> {
    return (await this.inside(netns, node, '-e', clientScript, protocol, address, String(port))).trim();
  }

  /** Links of this instance on the host, the bridge included. */
  links(): Link[] {
    return listLinks(this.host).filter(({ name }) => name !== 'lo' && name !== 'uplink' && !name.startsWith('eth'));
  }

  /** Waits until something holds, at most thirty seconds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (const deadline = Date.now() + 30_000; !holds(); await sleep(20)) {
      if (Date.now() > deadline) throw new Error(`not within 30 s: ${what}`);
    }
  }

  #spawn(netns: number | string, program: string, args: readonly string[]): ChildProcess {
    const fd = typeof netns === 'number' ? netns : openSync(netns, 'r');
    const child = spawn('nsenter', ['--net=/proc/self/fd/3', program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', fd],
    });
    if (typeof netns === 'string') closeSync(fd);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Ends the servers of {@link serve}. */
  async endServers(): Promise<void> {
    await Promise.all(
      [...this.#children].map(async (child) => {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endServers();
    await this.stopService('SIGTERM');
    this.#stack.dispose();
    closeSync(this.hostFd);
    closeSync(this.outsideFd);
    for (const pin of this.mounts()) umount(pin, { detach: true });
    rmSync(this.folder, { recursive: true });
  }

  /** Mount points below this test's folder. */
  mounts(): string[] {
    const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
    return lines.map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${this.folder}/`));
  }

  /** Runs synchronous work on the host. */
  onHost<T>(work: () => T): T {
    return insideNetworkNamespace(this.hostFd, work);
  }
}

function fullSpec({ sandboxId, ...spec }: SpecOf): SandboxSpec {
  const bridged = { network: 'bridge', aliases: [], ipv4Address: '', ipv6Address: '', macAddress: '' };
  const mode = spec.mode ?? 'bridge';
  return {
    sandboxId,
    mode,
    attachments: mode === 'bridge' ? [bridged] : [],
    ports: [],
    hostname: '',
    name: '',
    sysctls: {},
    ...spec,
  };
}

const serverScript = `
const [name, tcp, udp] = process.argv.slice(1);
const ready = [];
if (tcp !== '0') ready.push(new Promise((done) => require('node:net')
  .createServer((s) => { s.on('error', () => {}); s.on('data', () => s.write(name + ' ' + s.remoteAddress + '\\n')); s.write(name + ' ' + s.remoteAddress + '\\n'); })
  .listen(Number(tcp), '0.0.0.0', done)));
if (udp !== '0') ready.push(new Promise((done) => { const s = require('node:dgram').createSocket('udp4');
  s.on('message', (_, from) => s.send(name + ' ' + from.address + '\\n', from.port, from.address)); s.bind(Number(udp), '0.0.0.0', done); }));
Promise.all(ready).then(() => console.log('ready'));
`;

const clientScript = `
const [protocol, address, port] = process.argv.slice(1);
setTimeout(() => { console.error('no answer'); process.exit(1); }, 1000);
const end = (data) => { process.stdout.write(data); process.exit(0); };
if (protocol === 'tcp') require('node:net').connect(Number(port), address).on('data', end).on('error', (e) => { console.error(e.code); process.exit(1); });
else { const s = require('node:dgram').createSocket('udp4'); s.on('message', end); s.on('error', (e) => { console.error(e.code); process.exit(1); }); s.connect(Number(port), address, () => s.send('x')); }
`;
