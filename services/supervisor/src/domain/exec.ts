import type { ExecConfig } from './spec/exec-process.ts';

/** A further process in a container. */
export interface ExecRecord {
  readonly execId: string;
  readonly containerId: string;
  /** Run of the container that it belongs to. */
  readonly run: number;
  readonly config: ExecConfig;
  readonly state: 'created' | 'running' | 'exited';
  /** On the host; 0 before it starts. */
  readonly pid: number;
  readonly exitCode: number | undefined;
  /** A health check of ours: forgotten when it ends. */
  readonly probe: boolean;
}

/** Docker's action of an exec's event: `exec_start: sh -c true`. */
export function execAction(verb: 'exec_create' | 'exec_start', { config }: ExecRecord): string {
  return `${verb}: ${config.command.join(' ')}`;
}
