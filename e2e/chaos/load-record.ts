/** What the load knows by itself: what it did and what is wrong with what came of it. */
export class LoadRecord {
  /** Of each container that is gone, the actions that its events must tell, in order. */
  readonly stories = new Map<string, readonly string[]>();
  readonly wrong: string[] = [];
  readonly #counts = new Map<string, number>();

  count(what: string, by = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by);
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}

/** The story of a container that ran so often. */
export function lifeStory(runs: number): readonly string[] {
  return ['create', ...Array.from({ length: runs }, () => ['start', 'die']).flat(), 'destroy'];
}
