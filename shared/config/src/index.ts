export { type ConfigSource, loadConfig } from './load-config.ts';
export { exitsDir, loadPaths, natsUrl, type Paths, type ServiceSocket, shimDir, socketPath } from './paths.ts';
