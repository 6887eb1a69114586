export { type ConfigSource, loadConfig } from './load-config.ts';
export { loadPaths, natsUrl, type Paths, type ServiceSocket, shimDir, socketPath } from './paths.ts';
