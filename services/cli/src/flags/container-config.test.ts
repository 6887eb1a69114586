import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { buildContainerConfig, type ClientHost } from './container-config.ts';
import { addContainerFlags, type ContainerFlags } from './container-flags.ts';
import { normaliseArguments } from './normalise-arguments.ts';

const files: Readonly<Record<string, string>> = {
  'env.list': 'A=file\nB=file\n',
  labels: 'from=file\nboth=file\n',
  'profile.json': '{ "defaultAction": "SCMP_ACT_ALLOW" }',
  broken: 'not json',
};
const host: ClientHost = {
  cwd: '/work',
  selinux: false,
  env: { HOME: '/root' },
  readFile: (path) => {
    const content = files[path];
    if (content === undefined) throw new Error(`no file ${path}`);
    return content;
  },
};

/** As the command line reads it: Docker's forms, commander, then the config. */
function parse(args: readonly string[]) {
  const parent = new Command().enablePositionalOptions();
  const command = addContainerFlags(new Command('run').argument('<image>').argument('[command...]'))
    .passThroughOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  parent.addCommand(command);
  let result: ReturnType<typeof buildContainerConfig> | undefined;
  command.action((image: string, words: string[], flags: ContainerFlags) => {
    result = buildContainerConfig(image, words, flags, host);
  });
  parent.parse(['run', ...normaliseArguments(command, args, true)], { from: 'user' });
  assert.ok(result);
  return result;
}

const good: readonly (readonly [line: string, expected: object])[] = [
  ['debian', { image: 'debian', command: [], tty: false, openStdin: false }],
  ['-it debian bash -c true', { command: ['bash', '-c', 'true'], tty: true, openStdin: true }],
  ['debian ls -t --rm -m 1x', { command: ['ls', '-t', '--rm', '-m', '1x'], autoRemove: false, tty: false }],
  ['--rm=true -t=false -i=1 debian', { autoRemove: true, tty: false, openStdin: true }],
  ['--init=false --read-only debian', { init: false, readOnlyRoot: true }],
  ['-e A=1 -e=B=2 -eC=3 -e HOME debian', { env: ['A=1', 'B=2', 'C=3', 'HOME=/root'] }],
  ['--env-file env.list -e A=flag debian', { env: ['A=file', 'B=file', 'A=flag'] }],
  ['--label-file labels -l both=flag debian', { labels: { from: 'file', both: 'flag' } }],
  ['-h box --domainname d -u 1:2 -w /w debian', { hostname: 'box', domainname: 'd', user: '1:2', workingDir: '/w' }],
  ['--net host debian', { networkMode: 'host' }],
  ['--network=none debian', { networkMode: 'none' }],
  ['--entrypoint= debian', { entrypoint: [''] }],
  ['--entrypoint /bin/true debian a', { entrypoint: ['/bin/true'], command: ['a'] }],
  ['--cap-add NET_ADMIN --cap-drop ALL debian', { capabilitiesAdd: ['NET_ADMIN'], capabilitiesDrop: ['ALL'] }],
  ['--security-opt seccomp=unconfined debian', { securityOptions: ['seccomp=unconfined'] }],
  ['--security-opt no-new-privileges:true debian', { securityOptions: ['no-new-privileges=true'] }],
  ['--security-opt seccomp=profile.json debian', { securityOptions: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'] }],
  ['--add-host a:1.2.3.4 --add-host b=[::1] debian', { extraHosts: ['a:1.2.3.4', 'b:::1'] }],
  ['--stop-timeout -1 --stop-signal INT debian', { stopTimeoutSeconds: -1, stopSignal: 'INT' }],
  ['--log-opt max-size=1m debian', { log: { driver: '', options: { 'max-size': '1m' } } }],
  ['--shm-size 1g debian', { shmSizeBytes: 1n << 30n }],
  ['--dns 1.1.1.1 --dns-opt ndots:2 --dns-search x debian', { dnsOptions: ['ndots:2'], dnsSearch: ['x'] }],
  ['--expose 80 -P -p 8080:80 debian', { exposedPorts: ['80/tcp'], publishAllPorts: true }],
  ['--restart on-failure:2 debian', { restartPolicy: { name: 'on-failure', maximumRetries: 2 } }],
  ['-- debian -x', { image: 'debian', command: ['-x'] }],
];
for (const [line, expected] of good) {
  test(`run ${line}`, () => {
    const config = parse(line.split(' ')) as Readonly<Record<string, unknown>>;
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(config[key], value, key);
  });
}

test('limits go into resources, in the units of the contract', () => {
  const line =
    '-m 512m --memory-swap -1 --memory-reservation 256m --cpus 1.5 -c 512 --cpuset-cpus 0-1 --pids-limit 64 debian';
  const { resources } = parse(line.split(' '));
  assert.deepEqual(
    { ...resources },
    {
      memoryBytes: 512n << 20n,
      memorySwapBytes: -1n,
      memoryReservationBytes: 256n << 20n,
      nanoCpus: 1_500_000_000n,
      cpuShares: 512,
      cpuQuota: 0,
      cpuPeriod: 0,
      cpusetCpus: '0-1',
      cpusetMems: '',
      pidsLimit: 64,
      blkioWeight: 0,
      oomKillDisable: false,
    },
  );
});

const bad: readonly (readonly [line: string, message: RegExp])[] = [
  ['-m 10x debian', /--memory must be/],
  ['--cpus x debian', /--cpus must be/],
  ['--cpus 1 --cpu-quota 5 debian', /--cpus must be given without --cpu-quota/],
  ['--pids-limit many debian', /--pids-limit must be/],
  ['--oom-score-adj 1001 debian', /--oom-score-adj must be/],
  ['--stop-timeout x debian', /--stop-timeout must be/],
  ['-p 80:x debian', /--publish must be/],
  ['-v data debian', /--volume must be/],
  ['-v /a:/b --tmpfs /b debian', /mount target must be used once/],
  ['--mount type=bind debian', /--mount must be/],
  ['--rm --restart always debian', /--rm must be given without --restart/],
  ['--security-opt seccomp=broken debian', /--security-opt seccomp must be/],
  ['--add-host nonsense debian', /--add-host must be/],
  ['--sysctl a debian', /--sysctl must be/],
  ['--tty=maybe debian', /--tty must be true or false/],
  ['--network a --network b debian', /--network must be/],
  ['--nmae x debian', /unknown option '--nmae'\s+\(Did you mean --name\?\)/],
  ['-Z debian', /unknown option '-Z'/],
  ['--memory', /argument missing/],
  ['-i', /missing required argument 'image'/],
];
for (const [line, message] of bad) {
  test(`run ${line} is refused`, () => assert.throws(() => parse(line.split(' ')), { message }));
}
