/**
 * What the load does with an engine. Each is asked once and rejects when that failed; asked again, it does not do twice what
 * an earlier asking did whose answer was lost.
 */
export interface Operations {
  /** Creates a container that sleeps; answers its id. */
  create(name: string): Promise<string>;
  start(container: string): Promise<void>;
  /** Runs a program in it, to its end, which must be that with exit code 7. */
  exec(container: string): Promise<void>;
  remove(container: string): Promise<void>;
  /** Process id of its init, 0 when it does not run. */
  initPid(container: string): Promise<number>;
}

/** The engine has lost a container. */
export class ContainerKilled extends Error {}
