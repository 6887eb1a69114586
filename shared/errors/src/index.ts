export { asDiskFull } from './disk-full.ts';
export {
  type ErrorCode,
  errorCodes,
  FlotillaError,
  type FlotillaErrorDetails,
  hasReason,
  invalidField,
} from './flotilla-error.ts';
export { codeOfStatusNumber, statusNumbers } from './status-numbers.ts';
