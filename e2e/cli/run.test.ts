import { testRun } from './run-behaviour.ts';

testRun('fork');
