import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, runProgram } from '../harness/run-program.ts';

/** `runc run` of a bundle: what a container costs without an engine around it. */
export class RuncSubject {
  readonly #bundle: string;
  #count = 0;

  private constructor(bundle: string) {
    this.#bundle = bundle;
  }

  static async prepare(folder: string, root: string): Promise<RuncSubject | undefined> {
    const found = await runProgram('sh', ['-c', 'command -v runc'], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
    if (found.code !== 0) {
      console.log('bench: runc is not installed: no comparison with it');
      return undefined;
    }
    mkdirSync(folder);
    await mustRun('runc', ['spec', '--bundle', folder]);
    const file = join(folder, 'config.json');
    const spec = JSON.parse(readFileSync(file, 'utf8')) as { process: Record<string, unknown>; root: object };
    Object.assign(spec.process, { terminal: false, args: ['true'], env: ['PATH=/bin'] });
    spec.root = { path: root, readonly: true };
    writeFileSync(file, JSON.stringify(spec));
    return new RuncSubject(folder);
  }

  async runToExit(): Promise<void> {
    this.#count += 1;
    await mustRun('runc', [
      '--root',
      join(this.#bundle, 'state'),
      'run',
      '--bundle',
      this.#bundle,
      `bench-${this.#count}`,
    ]);
  }
}
