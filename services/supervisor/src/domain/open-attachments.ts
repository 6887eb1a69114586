/**
 * Attachments whose clients have not had everything yet, as far as the api tells. Not stored: a supervisor that restarts knows
 * of none, which costs something only when the api is killed with it.
 */
export class OpenAttachments {
  /** By container, its attachments and who waits for their end. */
  readonly #containers = new Map<string, { readonly ids: Set<string>; readonly waiting: Set<() => void> }>();

  begin(containerId: string, attachmentId: string): void {
    const container = this.#containers.get(containerId) ?? { ids: new Set(), waiting: new Set() };
    container.ids.add(attachmentId);
    this.#containers.set(containerId, container);
  }

  /** Nothing when it is not known, or over. */
  end(containerId: string, attachmentId: string): void {
    const container = this.#containers.get(containerId);
    container?.ids.delete(attachmentId);
    if (container?.ids.size === 0) this.forget(containerId);
  }

  has(containerId: string): boolean {
    return this.#containers.has(containerId);
  }

  /** Resolves once all of a container are over, or after `waitMs`: whose end has not been told by then counts no more. */
  async whenNone(containerId: string, waitMs: number): Promise<void> {
    const container = this.#containers.get(containerId);
    if (container === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    container.waiting.add(resolve);
    const timer = setTimeout(() => this.forget(containerId), waitMs);
    timer.unref();
    await promise;
    clearTimeout(timer);
  }

  /** All of a container count no more. */
  forget(containerId: string): void {
    const container = this.#containers.get(containerId);
    this.#containers.delete(containerId);
    for (const resolve of container?.waiting ?? []) resolve();
  }
}
