# A job of init.sh: runs the tests that VM_TESTS names; the last line is what e2e/vm/run.ts looks for.
if deploy/bin/node --test --test-concurrency=1 --test-reporter=spec $VM_TESTS; then
  echo 'VM RESULT: passed'
else
  for log in /tmp/fl-e2e-*/root/log/*.log; do
    [ -e "$log" ] && echo "--- $log" && tail -n 20 "$log"
  done
  echo 'VM RESULT: failed'
fi
