#!/bin/sh
# First process of the test machine: a host with cgroup v2 alone, the engine's kernel modules and nothing that runs. Does the
# job that the kernel's command line names (e2e/vm/<VM_JOB>.sh), and is off when that has ended.
export PATH=/usr/sbin:/sbin:/usr/bin:/bin HOME=/root
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
mount -t cgroup2 none /sys/fs/cgroup
mount --make-rshared /
for module in /lib/modules/*.ko; do insmod "$module" || echo "no module $module"; done
ip link set lo up
hostname test-machine
cd "$(readlink /flotilla)"
echo "cgroup controllers: $(cat /sys/fs/cgroup/cgroup.controllers); kernel $(uname -r)"
. "e2e/vm/$VM_JOB.sh"
poweroff -f
