import { matchesGlob } from 'node:path';
import { familiarReference, parseReference } from '@flotilla/oci';

/** `debian`, `debian:1*`, `*:latest`: against the familiar name, with or without the tag. */
export function matchesReference(references: readonly string[], pattern: string): boolean {
  return references.some((reference) => {
    const parsed = parseReference(reference);
    const familiar = familiarReference(parsed);
    const name = familiarReference({ domain: parsed.domain, path: parsed.path });
    return matchesGlob(familiar, pattern) || matchesGlob(name, pattern);
  });
}

/** Each filter is `key` or `key=value`; all must hold. */
export function matchesLabels(labels: Readonly<Record<string, string>>, filters: readonly string[]): boolean {
  return filters.every((filter) => {
    const equals = filter.indexOf('=');
    if (equals === -1) return filter in labels;
    return labels[filter.slice(0, equals)] === filter.slice(equals + 1);
  });
}
