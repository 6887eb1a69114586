export { createLogger, type Logger, type LoggerOptions } from './create-logger.ts';
export { currentRequestId, newRequestId, withRequestId } from './request-id.ts';
