// The dependency rule (docs/architecture.md): services meet in proto/, shared/ imports downwards only.
const rank = {
  errors: 0,
  oci: 0,
  log: 1,
  config: 1,
  linux: 1,
  store: 1,
  rpc: 2,
  events: 2,
  libcontainer: 2,
  client: 3,
  testing: 3,
};
const test = '[.]test[.]ts$|/src/testing/|/test/';

/** For each library of shared/: only libraries of a lower rank. oci may use errors, its elder of the same rank. */
const downwards = Object.entries(rank).map(([name, own]) => {
  const allowed = Object.keys(rank).filter((other) => rank[other] < own || other === name || other === 'errors');
  return {
    name: `shared-${name}-imports-downwards`,
    comment: 'a library imports libraries of a lower rank only',
    severity: 'error',
    from: { path: `^shared/${name}/`, pathNot: test },
    to: { path: '^shared/', pathNot: `^shared/(${allowed.join('|')})/` },
  };
});

const door = (library, owner, also = '^$') => ({
  name: `one-door-for-${library}`,
  comment: `${library} is used through ${owner} alone`,
  severity: 'error',
  from: { path: '^(services|shared|deploy)/', pathNot: `^${owner}/|${also}` },
  to: { path: `(^|/)node_modules/${library}(/|$)|^${library}$` },
});

/** @type {import('dependency-cruiser').IConfiguration} */
// biome-ignore lint/style/noDefaultExport: dependency-cruiser reads the default export
export default {
  forbidden: [
    {
      name: 'services-are-strangers',
      comment: 'services meet in proto/, never in code',
      severity: 'error',
      from: { path: '^services/([^/]+)/' },
      to: { path: '^services/', pathNot: '^services/$1/' },
    },
    {
      name: 'domain-is-pure',
      comment: 'rules must be testable without root, network or disk',
      severity: 'error',
      from: { path: '^services/[^/]+/src/domain/', pathNot: '[.]test[.]ts$' },
      to: {
        path: '^(services|shared|proto|deploy|e2e)/',
        pathNot:
          '^(services/[^/]+/src/domain|shared/(errors|oci)|shared/libcontainer/src/defaults)/?|^shared/libcontainer/src/defaults',
      },
    },
    {
      name: 'black-box',
      comment: 'end-to-end tests know the engine from outside',
      severity: 'error',
      from: { path: '^e2e/' },
      to: { path: '^(services|shared)/' },
    },
    {
      name: 'proto-imports-nothing',
      severity: 'error',
      from: { path: '^proto/' },
      to: { path: '^(services|shared|deploy|e2e)/' },
    },
    { name: 'no-cycles', severity: 'error', from: { path: '^(services|shared|deploy|e2e)/' }, to: { circular: true } },
    {
      name: 'resolvable',
      severity: 'error',
      from: { path: '^(services|shared|deploy|e2e)/' },
      to: { couldNotResolve: true, pathNot: '^node:' },
    },
    door('koffi', 'shared/linux'),
    door('@grpc/grpc-js', 'shared/rpc'),
    door('nats', 'shared/events'),
    door('pino', 'shared/log'),
    ...downwards,
  ],
  options: {
    doNotFollow: { path: 'node_modules|proto/gen' },
    exclude: { path: '^proto/gen/google' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.mjs', '.js'],
    },
  },
};
