import { parentPort, workerData } from 'node:worker_threads';
import { mountWithOptions, type OptionMount } from '@flotilla/linux';

/** How it went. Errors cross as plain objects. */
export type MountAnswer = 'mounted' | { readonly code: string; readonly message: string };

function answer(): MountAnswer {
  try {
    mountWithOptions(workerData as OptionMount);
    return 'mounted';
  } catch (error) {
    const { code = 'unknown', message = String(error) } = error as { code?: string; message?: string };
    return { code, message };
  }
}

parentPort?.postMessage(answer());
