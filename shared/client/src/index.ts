export { connectEngine, type Engine, type EngineOptions, engineAddress } from './connect-engine.ts';
export { isUnavailable, type RetryOptions, retryWhileUnavailable } from './retry-while-unavailable.ts';
