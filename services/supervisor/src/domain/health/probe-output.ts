const mostBytes = 4096;

/** What a check writes, as far as it is kept: the beginning, with `...` for the rest, as Docker has it. */
export class ProbeOutput {
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #truncated = false;

  add(chunk: Uint8Array): void {
    const kept = chunk.subarray(0, mostBytes - this.#size);
    this.#truncated ||= kept.length < chunk.length;
    if (kept.length === 0) return;
    this.#size += kept.length;
    this.#chunks.push(kept);
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8') + (this.#truncated ? '...' : '');
  }
}
