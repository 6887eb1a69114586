import { Agent, request } from 'node:http';
import type { DockerSubject } from '../docker.ts';
import { ContainerKilled, type Operations } from './operations.ts';

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** dockerd's, over its HTTP API. */
export class DockerOperations implements Operations, Disposable {
  readonly #docker: DockerSubject;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(docker: DockerSubject) {
    this.#docker = docker;
  }

  async create(name: string): Promise<string> {
    const config = { Image: this.#docker.image, Cmd: ['sleep', '600'], HostConfig: { NetworkMode: 'bridge' } };
    // 409: an earlier asking had its effect, whose answer was lost.
    await this.#ask('POST', `/containers/create?name=${name}`, [201, 409], config);
    return name;
  }

  async start(container: string): Promise<void> {
    await this.#ask('POST', `/containers/${container}/start`, [204, 304]);
  }

  async exec(container: string): Promise<void> {
    try {
      const config = { Cmd: ['sh', '-c', 'exit 7'], AttachStdout: true, AttachStderr: true };
      const { Id } = JSON.parse(await this.#ask('POST', `/containers/${container}/exec`, [201], config));
      await this.#ask('POST', `/exec/${Id}/start`, [200], { Detach: false, Tty: false });
      const { ExitCode } = JSON.parse(await this.#ask('GET', `/exec/${Id}/json`, [200]));
      if (ExitCode !== 7) throw new Error(`exec ended with ${ExitCode}, not 7`);
    } catch (error) {
      if ((await this.initPid(container).catch(() => -1)) === 0) throw new ContainerKilled();
      throw error;
    }
  }

  async remove(container: string): Promise<void> {
    await this.#ask('DELETE', `/containers/${container}?force=true`, [204, 404]);
  }

  async initPid(container: string): Promise<number> {
    const { State } = JSON.parse(await this.#ask('GET', `/containers/${container}/json`, [200]));
    return Number(State.Pid);
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #ask(method: string, path: string, good: readonly number[], json?: object): Promise<string> {
    const { status, body } = await this.#send(method, path, json);
    if (!good.includes(status)) {
      const said = body
        .trim()
        .replaceAll(/[0-9a-f]{64}/g, '…')
        .slice(0, 150);
      throw new Error(`HTTP ${status} ${said}`);
    }
    return body;
  }

  #send(method: string, path: string, json?: object): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const headers = json === undefined ? {} : { 'content-type': 'application/json' };
    const asked = request({ socketPath: this.#docker.socketPath, agent: this.#agent, method, path, headers });
    asked.on('error', reject);
    asked.on('response', (response) => {
      let body = '';
      response.setEncoding('latin1');
      response.on('data', (piece: string) => {
        body += piece;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.end(json === undefined ? undefined : JSON.stringify(json));
    return promise;
  }
}
