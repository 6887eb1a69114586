import { invalidField } from '@flotilla/errors';
import { canonicalReference, parseReference } from '@flotilla/oci';
import type { ListContainersRequest } from '@flotilla/proto/flotilla/v1/container';
import type { ContainerRecord } from '../domain/container.ts';
import { isLive } from '../domain/container-state.ts';
import { hasLabel } from '../domain/prune-containers.ts';
import { waitsForRestart } from '../domain/restart-policy.ts';
import { healthStatusToProto, stateToProto } from './to-proto.ts';

const longestPattern = 256;
type Filter = (record: ContainerRecord) => boolean;

/** Those that match, newest first. INVALID_FIELD for a pattern that is none. */
export function selectContainers(
  records: Iterable<ContainerRecord>,
  request: ListContainersRequest,
): ContainerRecord[] {
  const filters = buildFilters(request);
  const chosen = [...records].filter((record) => filters.every((filter) => filter(record)));
  chosen.sort((a, b) => (a.createdAtUnixNano < b.createdAtUnixNano ? 1 : -1));
  return request.limit > 0 ? chosen.slice(0, request.limit) : chosen;
}

function buildFilters({
  all,
  limit,
  names,
  containerIds,
  labels,
  states,
  images,
  restarting,
  health,
}: ListContainersRequest): Filter[] {
  const filters: Filter[] = [];
  const byState = states.length > 0 || restarting;
  if (byState) {
    filters.push((record) => (waitsForRestart(record) ? restarting : states.includes(stateToProto(record.state))));
  } else if (!all && limit === 0) filters.push((record) => isLive(record.state) || waitsForRestart(record));
  if (containerIds.length > 0) filters.push(({ containerId }) => containerIds.some((id) => containerId.startsWith(id)));
  if (names.length > 0) {
    const patterns = names.map(compile);
    filters.push(({ name }) => patterns.some((pattern) => pattern.test(name) || pattern.test(`/${name}`)));
  }
  if (health.length > 0) filters.push((record) => health.includes(healthStatusToProto(record.health)));
  for (const label of labels) filters.push((record) => hasLabel(record, label));
  if (images.length > 0)
    filters.push(({ config, made }) => images.some((image) => isOf(image, config.image, made?.imageId)));
  return filters;
}

function compile(text: string, index: number): RegExp {
  try {
    if (text.length <= longestPattern) return new RegExp(text);
  } catch {
    // Answered below.
  }
  throw invalidField(`names[${index}]`, `a regular expression of at most ${longestPattern} characters`, text);
}

function isOf(wanted: string, asked: string, imageId: string | undefined): boolean {
  if (wanted === asked || wanted === imageId) return true;
  if (/^[0-9a-f]{4,64}$/.test(wanted) && imageId?.startsWith(`sha256:${wanted}`) === true) return true;
  return canonical(wanted) !== undefined && canonical(wanted) === canonical(asked);
}

function canonical(text: string): string | undefined {
  try {
    return canonicalReference(parseReference(text));
  } catch {
    return undefined;
  }
}
