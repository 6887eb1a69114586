#!/bin/sh
# First process of the test machine: a host with cgroup v2 alone, the engine's kernel modules and nothing that runs.
# Tests the engine and says on the console how it went; the last line is what e2e/vm/run.ts looks for.
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
cd /flotilla
echo "cgroup controllers: $(cat /sys/fs/cgroup/cgroup.controllers); kernel $(uname -r)"
if deploy/bin/node --test --test-concurrency=1 --test-reporter=spec $VM_TESTS; then
  echo 'VM RESULT: passed'
else
  for log in /tmp/fl-e2e-*/root/log/*.log; do
    [ -e "$log" ] && echo "--- $log" && tail -n 20 "$log"
  done
  echo 'VM RESULT: failed'
fi
poweroff -f
