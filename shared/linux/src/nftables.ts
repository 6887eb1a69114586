import { koffi } from './libc.ts';
import { insideNetworkNamespace } from './netlink/network-namespace.ts';

const NFT_CTX_DEFAULT = 0;
const NFT_CTX_OUTPUT_JSON = 1 << 4;
const libraryName = 'libnftables.so.1';

/** A ruleset command that nftables refused; nothing of its transaction was done. */
export class NftablesError extends Error {
  /** What was asked, as sent. */
  readonly commands: string;

  constructor(explanation: string, commands: string) {
    super(`nftables: ${explanation}`);
    this.name = 'NftablesError';
    this.commands = commands;
  }
}

type Context = object;

interface Library {
  readonly contextNew: (flags: number) => Context | null;
  readonly contextFree: (context: Context) => void;
  readonly bufferOutput: (context: Context) => number;
  readonly bufferError: (context: Context) => number;
  readonly output: (context: Context) => string | null;
  readonly error: (context: Context) => string | null;
  readonly setOutputFlags: (context: Context, flags: number) => void;
  readonly run: (context: Context, commands: string) => number;
}

/** Where rules are. */
export interface NftablesOptions {
  /** Descriptor of a network namespace; the calling thread's own when absent. */
  readonly netnsFd?: number | undefined;
}

/**
 * The firewall of a network namespace through libnftables(3), in this process. Commands are nft(8)'s; all those of
 * one call are one transaction: done as a whole or not at all.
 */
export class Nftables implements Disposable {
  readonly #library: Library;
  readonly #netnsFd: number | undefined;
  #context: Context | undefined;

  /** Throws when the library is not installed: its Debian package is `libnftables1`. */
  constructor({ netnsFd }: NftablesOptions = {}) {
    this.#library = loadLibrary();
    this.#netnsFd = netnsFd;
    this.#context = this.#inside(() => openContext(this.#library));
  }

  /** Runs commands as one transaction. Throws NftablesError, with nftables' own explanation, when one is refused. */
  run(commands: string): void {
    this.#run(commands, 0);
  }

  /** As {@link run}, with commands of libnftables-json(5), such as `{ add: { table: { family: 'ip', name: 'one' } } }`. */
  runJson(commands: readonly object[]): void {
    this.#run(JSON.stringify({ nftables: commands }), NFT_CTX_OUTPUT_JSON);
  }

  /** Runs a command that lists, such as `list table ip flotilla`: the array `nftables` of libnftables-json(5). */
  list(command: string): readonly unknown[] {
    const parsed: unknown = JSON.parse(this.#run(command, NFT_CTX_OUTPUT_JSON));
    const objects = (parsed as { readonly nftables?: unknown } | null)?.nftables;
    if (!Array.isArray(objects)) throw new NftablesError('an answer without an array "nftables"', command);
    return objects;
  }

  #run(commands: string, flags: number): string {
    const context = this.#context;
    if (context === undefined) throw new RangeError('nftables context is closed');
    if (commands.includes('\0')) throw new RangeError('nftables commands hold a NUL');
    const { setOutputFlags, run, output, error } = this.#library;
    return this.#inside(() => {
      setOutputFlags(context, flags);
      const result = run(context, commands);
      // Both buffers are emptied by being read.
      const [text, explanation] = [output(context) ?? '', error(context) ?? ''];
      if (result === 0) return text;
      throw new NftablesError(explanation.trim() || 'refused without an explanation', commands);
    });
  }

  #inside<T>(work: () => T): T {
    return this.#netnsFd === undefined ? work() : insideNetworkNamespace(this.#netnsFd, work);
  }

  [Symbol.dispose](): void {
    if (this.#context !== undefined) this.#library.contextFree(this.#context);
    this.#context = undefined;
  }
}

function openContext({ contextNew, bufferOutput, bufferError }: Library): Context {
  const context = contextNew(NFT_CTX_DEFAULT);
  if (context === null || bufferOutput(context) !== 0 || bufferError(context) !== 0) {
    throw new NftablesError('no context', 'nft_ctx_new');
  }
  return context;
}

let loaded: Library | undefined;

function loadLibrary(): Library {
  if (loaded !== undefined) return loaded;
  const library = koffi.load(libraryName);
  loaded = {
    contextNew: library.func('void *nft_ctx_new(uint32_t flags)'),
    contextFree: library.func('void nft_ctx_free(void *context)'),
    bufferOutput: library.func('int nft_ctx_buffer_output(void *context)'),
    bufferError: library.func('int nft_ctx_buffer_error(void *context)'),
    output: library.func('const char *nft_ctx_get_output_buffer(void *context)'),
    error: library.func('const char *nft_ctx_get_error_buffer(void *context)'),
    setOutputFlags: library.func('void nft_ctx_output_set_flags(void *context, unsigned int flags)'),
    run: library.func('int nft_run_cmd_from_buffer(void *context, const char *commands)'),
  };
  return loaded;
}
