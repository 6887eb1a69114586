import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const projectRoot = fileURLToPath(new URL('../..', import.meta.url));

/** A release of its own beside the working tree: what `service upgrade --release` is given. */
export class ReleaseFolder implements Disposable {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** A copy of the working tree. */
  static ofWorkingTree(): ReleaseFolder {
    const release = new ReleaseFolder(mkdtempSync('/tmp/fl-release-'));
    const listed = execFileSync('git', ['ls-files', '-coz', '--exclude-standard'], { cwd: projectRoot });
    const files = listed
      .toString()
      .split('\0')
      .filter((file) => file !== '' && existsSync(join(projectRoot, file)));
    for (const file of new Set([...files, ...globSync('proto/gen/**/*.ts', { cwd: projectRoot })])) {
      cpSync(join(projectRoot, file), join(release.dir, file));
    }
    linkPackages(release.dir);
    return release;
  }

  /** What a tag holds, its contracts generated anew; packages are the working tree's. */
  static ofTag(tag: string): ReleaseFolder {
    const release = new ReleaseFolder(mkdtempSync('/tmp/fl-release-'));
    const archive = execFileSync('git', ['archive', tag], { cwd: projectRoot, maxBuffer: 1 << 28 });
    execFileSync('tar', ['-x', '-C', release.dir], { input: archive });
    linkPackages(release.dir);
    execFileSync(join(projectRoot, 'node_modules/.bin/buf'), ['generate'], {
      cwd: join(release.dir, 'proto'),
      env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}` },
    });
    return release;
  }

  /** The newest tag of a release that the working tree descends from, or undefined. */
  static lastTag(): string | undefined {
    const args = ['describe', '--tags', '--abbrev=0', '--match', 'v[0-9]*'];
    const { status, stdout } = spawnSync('git', args, { cwd: projectRoot, encoding: 'utf8' });
    return status === 0 ? stdout.trim() : undefined;
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Packages from the registry are the working tree's; the project's own must be those of the release. */
function linkPackages(dir: string): void {
  for (const from of ['node_modules', ...globSync('{services,shared}/*/node_modules', { cwd: projectRoot })].concat(
    globSync('{proto,deploy,e2e}/node_modules', { cwd: projectRoot }),
  )) {
    mkdirSync(join(dir, from), { recursive: true });
    for (const entry of readdirSync(join(projectRoot, from))) {
      if (entry !== '@flotilla') symlinkSync(join(projectRoot, from, entry), join(dir, from, entry));
    }
  }
  mkdirSync(join(dir, 'node_modules/@flotilla'));
  for (const manifest of globSync('{{services,shared}/*,proto,deploy,e2e}/package.json', { cwd: dir })) {
    const { name } = JSON.parse(readFileSync(join(dir, manifest), 'utf8')) as { name: string };
    if (name.startsWith('@flotilla/')) symlinkSync(dirname(join(dir, manifest)), join(dir, 'node_modules', name));
  }
}
