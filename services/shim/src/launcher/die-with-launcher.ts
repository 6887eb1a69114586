import { exitNow, getppid, SIGKILL, setParentDeathSignal } from '@flotilla/linux';

/**
 * A shim that is about to adopt a container must not outlive the launcher that started it: the next one, which finds the
 * name of a dead shim in `shim.json`, starts another, and a container has one shim. Over once it has put its own name
 * there: prctl(2), PR_SET_PDEATHSIG.
 */
export function dieWithLauncher(launcherPid: number): Disposable {
  setParentDeathSignal(SIGKILL);
  if (getppid() !== launcherPid) exitNow(1); // It died before.
  return { [Symbol.dispose]: () => setParentDeathSignal(0) };
}
