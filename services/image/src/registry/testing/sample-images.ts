import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';

export function shell(folder: string, script: string): string {
  return execFileSync('sh', ['-ec', script], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

/**
 * Makes an image of three layers in the OCI layout `oci:sample`: hard links, extended attributes, a file capability, owners,
 * whiteouts of files and folders. Its root, as it must be, is the folder `reference`.
 */
export function makeSample(folder: string): void {
  shell(
    folder,
    `umoci init --layout oci; umoci new --image oci:sample; umoci unpack --image oci:sample one
    cd one/rootfs; mkdir -p bin etc data/sub tmp; chmod 1777 tmp
    cp /bin/busybox bin/busybox; ln bin/busybox bin/sh; setcap cap_net_raw+ep bin/busybox
    echo root:x:0:0:root:/root:/bin/sh > etc/passwd; echo keep > data/keep; echo gone > data/gone; echo hidden > data/sub/hidden
    ln -s ../etc/passwd data/link; ln -s /outside data/escape; chown 5:6 data/keep; setfattr -n user.a -v b data/keep
    mknod data/fifo p; find . -exec touch -h -d @1700000000 {} +
    cd ../..; umoci repack --image oci:sample one; umoci unpack --image oci:sample two
    cd two/rootfs; rm data/gone; rm -r data/sub; mkdir data/sub; echo new > data/sub/new; echo t > tmp/file
    ln data/keep data/linked; find . -exec touch -h -d @1700000000 {} +
    cd ../..; umoci repack --image oci:sample two; umoci unpack --image oci:sample three
    cd three/rootfs; head -c 400000 /dev/urandom > data/noise; find . -exec touch -h -d @1700000000 {} +
    cd ../..; umoci repack --image oci:sample three; umoci config --image oci:sample --config.cmd sh --config.env A=b
    mv three/rootfs reference`,
  );
}

/** Everything about a tree that an image can say: kinds, modes, owners, times, links, contents, attributes. */
export function describeTree(path: string): string {
  return shell(
    path,
    `find . -type d -printf '%p %y %m %U %G\\n' -o -printf '%p %y %m %U %G %Ts %l %n\\n' | sort
    find . -type f | sort | xargs sha256sum; getfattr -R -h -d -m '^(user|security)' -e hex . | sort`,
  );
}

/** Sends an image to a registry, whose token server may be this process. */
export async function push(folder: string, source: string, target: string, ...flags: readonly string[]): Promise<void> {
  const args = ['copy', '-q', '--insecure-policy', '--dest-tls-verify=false', ...flags, source, `docker://${target}`];
  await promisify(execFile)('skopeo', args, { cwd: folder, timeout: 60_000 });
}
