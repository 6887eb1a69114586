import { containerEvent } from './container.ts';
import { nameTaken } from './create-container.ts';
import { type Engine, mustGet } from './engine.ts';
import { checkContainerName } from './validation/names.ts';

/** Gives a container another name. ALREADY_EXISTS / CONTAINER_NAME_TAKEN. */
export async function renameContainer(engine: Engine, reference: string, name: string): Promise<void> {
  const { repository, queue, now } = engine;
  const { containerId } = repository.find(reference);
  checkContainerName(name);
  return queue.run(containerId, async () => {
    const record = mustGet(engine, containerId);
    const taken = repository.findByName(name);
    if (taken !== undefined) throw nameTaken(name, taken.containerId);
    const renamed = { ...record, name };
    const events = [containerEvent(renamed, 'rename', now(), { oldName: `/${record.name}` })];
    repository.save({ container: renamed, events });
    await repository.flush();
  });
}
