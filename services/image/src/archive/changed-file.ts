import type { FileStatus } from '@flotilla/linux';
import type { BytePath } from './byte-path.ts';
import type { FoundFile } from './file-entries.ts';

/** What the writable layer says of a path. */
export type ChangedFile =
  /** The image has it, the container has not. */
  | { readonly kind: 'deleted'; readonly path: BytePath }
  /** It is in the writable layer; `before` is what the image has in its place. Folders come before what is in them. */
  | ({
      readonly kind: 'present';
      readonly before: FileStatus | undefined;
      readonly beforeIn: number | undefined;
    } & FoundFile)
  /** A folder in which nothing of the image is seen: `hidden` are the names that are only there. */
  | {
      readonly kind: 'replaced';
      readonly path: BytePath;
      readonly hidden: readonly BytePath[];
      /** A folder above it is replaced, too. */
      readonly within: boolean;
    };
