import { type Finished, mustRun, runProgram } from './run-program.ts';

/** A network namespace that is to this host as a neighbour in its network is. */
export class OtherHost implements AsyncDisposable {
  readonly #name: string;
  /** This host's address as the other one knows it. */
  readonly gateway = '198.18.57.1';

  private constructor(name: string) {
    this.#name = name;
  }

  static async start(): Promise<OtherHost> {
    const name = `fl-e2e-${process.pid}`;
    const other = new OtherHost(name);
    const link = `fle${process.pid}`;
    await mustRun('ip', ['netns', 'add', name]);
    try {
      await mustRun('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
      await mustRun('ip', ['address', 'add', `${other.gateway}/30`, 'dev', link]);
      await mustRun('ip', ['link', 'set', link, 'up']);
      await mustRun('ip', ['-netns', name, 'address', 'add', '198.18.57.2/30', 'dev', 'eth0']);
      await mustRun('ip', ['-netns', name, 'link', 'set', 'eth0', 'up']);
      return other;
    } catch (error) {
      await other[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a program there. */
  run(...command: string[]): Promise<Finished> {
    return runProgram('ip', ['netns', 'exec', this.#name, ...command]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await mustRun('ip', ['netns', 'delete', this.#name]);
  }
}
