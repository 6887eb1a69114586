export {
  connectEngine,
  connectKeeper,
  type Engine,
  type EngineOptions,
  engineAddress,
  type KeeperClient,
} from './connect-engine.ts';
export { isLost, isUnavailable, type RetryOptions, retryWhileUnavailable } from './retry-while-unavailable.ts';
