import type { ContainerRecord } from './container.ts';
import { mergeLabels } from './spec/merge-config.ts';
import { type LogOptions, parseLogOptions } from './validation/log-options.ts';
import { formatTag } from './validation/log-tag.ts';

/** What a shim's log driver is told. */
export interface TaskLog extends LogOptions {
  /** Resolved; empty where entries carry none. */
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly containerName: string;
  readonly imageName: string;
}

/** The log options of a container that is made, with what they say of it filled in. */
export function resolveLog({ containerId, name, config, made }: ContainerRecord, env: readonly string[]): TaskLog {
  const options = parseLogOptions(config.log);
  const facts = { containerId, name, imageId: made!.imageId, imageName: config.image };
  // As Docker has it: json-file writes a tag only when it was asked for.
  const isTagged = options.tag !== undefined || options.driver === 'journald' || options.driver === 'syslog';
  const variables = Object.fromEntries(env.map((entry) => splitOnce(entry)));
  return {
    ...options,
    tag: isTagged ? formatTag(options.tag, facts) : '',
    attributes: {
      ...pick(mergeLabels(config, made!.image), options.labels, options.labelsPattern),
      ...pick(variables, options.env, options.envPattern),
    },
    containerName: name,
    imageName: config.image,
  };
}

/** Longer ones would not fit a datagram of a log daemon. */
const longestValue = 4096;

function pick(
  from: Readonly<Record<string, string>>,
  names: readonly string[],
  pattern: RegExp | undefined,
): Record<string, string> {
  const matching = Object.entries(from).filter(([name]) => names.includes(name) || pattern?.test(name) === true);
  return Object.fromEntries(matching.map(([name, value]) => [name, value.slice(0, longestValue)]));
}

function splitOnce(entry: string): [string, string] {
  const at = entry.indexOf('=');
  return at === -1 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}
