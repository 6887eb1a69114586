import type { Image } from '@flotilla/proto/flotilla/v1/image';
import { formatDate, formatSince, formatSize, shortId } from './human.ts';
import type { Column, Row } from './table.ts';

export const imageColumns: readonly Column[] = [
  { field: 'Repository', title: 'REPOSITORY' },
  { field: 'Tag', title: 'TAG' },
  { field: 'ID', title: 'IMAGE ID' },
  { field: 'CreatedSince', title: 'CREATED' },
  { field: 'Size', title: 'SIZE' },
];

export const digestColumn: Column = { field: 'Digest', title: 'DIGEST' };

/** What `images` says of an image: a row a reference. */
export function imageRows(
  image: Image,
  { truncate, nowMs }: { readonly truncate: boolean; readonly nowMs: number },
): Row[] {
  // One that was pulled by digest has a repository, and no tag.
  const named = image.references.length > 0 ? image.references : image.digestReferences.slice(0, 1);
  const references = named.length === 0 ? [undefined] : named;
  return references.map((reference) => {
    const { repository, tag } = splitReference(reference);
    return {
      Repository: repository,
      Tag: tag,
      Digest: image.manifestDigest,
      ID: truncate ? shortId(image.imageId) : image.imageId,
      CreatedAt: formatDate(image.createdAtUnixNano),
      CreatedSince: image.createdAtUnixNano === 0n ? 'N/A' : `${formatSince(image.createdAtUnixNano, nowMs)} ago`,
      Size: formatSize(image.sizeBytes),
    };
  });
}

/** `debian` and `12` of `debian:12`; a port is no tag. */
export function splitReference(reference: string | undefined): { readonly repository: string; readonly tag: string } {
  if (reference === undefined) return { repository: '<none>', tag: '<none>' };
  const name = reference.split('@', 1)[0] ?? '';
  const colon = name.lastIndexOf(':');
  if (colon <= name.lastIndexOf('/')) return { repository: name, tag: '<none>' };
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
}

/** Whether a row is one that `images NAME` asks for: by repository, or by repository and tag; `*` and `?` as in file names. */
export function matchesReference({ Repository = '', Tag = '' }: Row, patterns: readonly string[]): boolean {
  if (patterns.length === 0) return true;
  return patterns.some((pattern) => {
    const { repository, tag } = splitReference(pattern);
    const repositoryMatches = globMatches(repository, Repository);
    return repositoryMatches && (tag === '<none>' || globMatches(tag, Tag));
  });
}

function globMatches(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '[^/]*')
    .replaceAll('?', '[^/]');
  return new RegExp(`^${source}$`).test(text);
}
