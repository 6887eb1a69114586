import { testRun } from './run-behaviour.ts';

// On hosts where forks of Node.js do not work, shims are ordinary processes: everything must be the same.
testRun('spawn');
