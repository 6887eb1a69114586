import { keyOf, parseStoredName } from './stored-name.ts';

/** What an earlier launcher had left with the service manager, by container. */
export class StoredDescriptors {
  readonly #byKey = new Map<string, Map<string, number>>();
  /** With its name. */
  readonly #left = new Map<number, string>();

  constructor(stored: ReadonlyMap<string, number> = new Map()) {
    for (const [name, fd] of stored) {
      this.#left.set(fd, name);
      const { what, key } = parseStoredName(name) ?? {};
      if (what === undefined || key === undefined) continue;
      const ofContainer = this.#byKey.get(key) ?? new Map<string, number>();
      this.#byKey.set(key, ofContainer);
      if (!ofContainer.has(what)) ofContainer.set(what, fd);
    }
  }

  /** Those of a container, by what they are: the caller's from now on. */
  take(containerId: string): Map<string, number> {
    const key = keyOf(containerId);
    const taken = this.#byKey.get(key) ?? new Map<string, number>();
    this.#byKey.delete(key);
    for (const fd of taken.values()) this.#left.delete(fd);
    return taken;
  }

  /** What nobody has taken. */
  get left(): readonly { readonly name: string; readonly fd: number }[] {
    return [...this.#left].map(([fd, name]) => ({ fd, name }));
  }
}
