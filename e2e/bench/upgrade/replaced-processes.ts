/** When the keeper put one process in the place of another, Date.now(). */
export interface Replaced {
  readonly name: string;
  /** The old one was asked to leave. */
  readonly drainedAt: number;
  /** The new one answered. */
  readonly doneAt: number;
}

/** By the keeper's log, those since a time. */
export function replacedProcesses(log: readonly string[], since: number): readonly Replaced[] {
  const drained = new Map<string, number>();
  const replaced: Replaced[] = [];
  for (const line of log) {
    if (!line.includes('"msg":"upgrade"')) continue;
    const { time, process: name, stage } = JSON.parse(line) as Record<'time' | 'process' | 'stage', string>;
    const at = Date.parse(time);
    if (stage === 'UPGRADE_STAGE_DRAINING') drained.set(name, at);
    const drainedAt = drained.get(name);
    if (stage !== 'UPGRADE_STAGE_DONE' || drainedAt === undefined || drainedAt < since) continue;
    replaced.push({ name, drainedAt, doneAt: at });
  }
  return replaced;
}
