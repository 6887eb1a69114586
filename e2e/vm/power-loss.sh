# A job of init.sh: the engine on the disk that outlives the machine (/dev/vdb), compared with what the host remembers
# (/dev/vdc) and used until the power is cut.
mkdir -p /data
# After so many hundredths of a second the kernel writes out what nobody flushes.
echo "$VM_WRITE_AFTER" >/proc/sys/vm/dirty_expire_centisecs
mount -t ext4 /dev/vdb /data || echo 'WRONG the disk cannot be mounted'
export FLOTILLA_ROOT=/data/root FLOTILLA_RUN=/run/flotilla NODE_COMPILE_CACHE="$PWD/.cache/compile"
mkdir -p -m 700 $FLOTILLA_ROOT
ln -sfn "$NODE_COMPILE_CACHE" $FLOTILLA_ROOT/compile-cache
if deploy/bin/node deploy/bin/up.ts --wait 300; then
  deploy/bin/node e2e/vm/power-loss/guest.ts /dev/vdc "$VM_SEED" || echo 'WRONG the check ended with an error'
else
  echo 'WRONG the engine did not come up'
  tail -n 20 $FLOTILLA_ROOT/log/*.log
fi
