import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the demo image is called. */
export const demoReference = 'flotilla/demo:latest';

/** Defaults of its containers, as Dockerfile instructions. */
export const demoChanges: readonly string[] = ['CMD ["sh"]', 'ENV PATH=/bin', 'WORKDIR /'];

const busybox = '/bin/busybox';

/**
 * Builds the root file system of the demo image, the host's static busybox with a link for each of its commands, and
 * gives it to `use` as the path of a tar that is gone afterwards.
 */
export async function withDemoRoot<T>(use: (tarPath: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-demo-'));
  try {
    const root = join(folder, 'root');
    for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp', 'var', 'www']) {
      mkdirSync(join(root, name), { recursive: true });
      chmodSync(join(root, name), name === 'tmp' ? 0o1777 : 0o755); // not what the umask leaves of it
    }
    chmodSync(root, 0o755);
    copyFileSync(busybox, join(root, 'bin/busybox'));
    chmodSync(join(root, 'bin/busybox'), 0o755);
    const commands = execFileSync(busybox, ['--list']).toString().trim().split('\n');
    for (const command of commands) if (command !== 'busybox') symlinkSync('busybox', join(root, 'bin', command));
    writeFileSync(
      join(root, 'etc/passwd'),
      'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
    );
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
    writeFileSync(join(root, 'www/index.html'), 'Hello from a container.\n');
    const tarPath = join(folder, 'root.tar');
    const fixed = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0', '--mode=go+r'];
    execFileSync('tar', ['--create', '--file', tarPath, ...fixed, '--directory', root, '.']);
    return await use(tarPath);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
