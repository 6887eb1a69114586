import process from 'node:process';
import { hasReason } from '@flotilla/errors';
import { ListContainersRequest } from '@flotilla/proto/flotilla/v1/container';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodes } from '../failure.ts';

const gone = ['CONTAINER_NOT_RUNNING', 'CONTAINER_NOT_FOUND', 'TASK_NOT_RUNNING'];

/** Has new shims of the launcher's code take containers over, one after the other; without names, all that run. */
export async function upgradeShims(containers: readonly string[]): Promise<void> {
  await withEngine(async (engine) => {
    const all = containers.length === 0;
    const wanted = all
      ? (await engine.containers.listContainers(ListContainersRequest.fromPartial({}))).containers.map(
          ({ containerId }) => containerId,
        )
      : containers;
    let failures = 0;
    for (const container of wanted) {
      try {
        const { shimPid, replacedPid } = await engine.containers.replaceShim({ container });
        process.stdout.write(`${container} has shim ${shimPid} instead of ${replacedPid}\n`);
      } catch (error) {
        // Those that end meanwhile need no shim.
        if (all && gone.some((reason) => hasReason(error, reason))) continue;
        complain(error);
        failures += 1;
      }
    }
    if (failures > 0) throw new ExitRequest(exitCodes.failed);
  });
}
