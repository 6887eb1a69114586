import { closeFd } from './descriptors.ts';
import { koffi, self } from './libc.ts';

const UV_POLL = 8;
const UV_READABLE = 1;

const cHandleSize = self.func('size_t uv_handle_size(int type)');
const cDefaultLoop = self.func('void *uv_default_loop()');
const cPollInit = self.func('int uv_poll_init(void *loop, void *handle, int fd)');
const pollCallback = koffi.pointer(koffi.proto('void flotilla_poll_cb(void *handle, int status, int events)'));
const closeCallback = koffi.pointer(koffi.proto('void flotilla_close_cb(void *handle)'));
const cPollStart = self.func('uv_poll_start', 'int', ['void *', 'int', pollCallback]);
const cPollStop = self.func('int uv_poll_stop(void *handle)');
const cClose = self.func('uv_close', 'void', ['void *', closeCallback]);
const cErrName = self.func('const char *uv_err_name(int error)');

/** A descriptor that is watched. */
export interface ReadableWatch extends Disposable {
  /** Looks away; the descriptor stays the caller's. */
  pause(): void;
  resume(): void;
}

/** What libuv's callbacks are given, by the handle's address. */
const handles = new Map<bigint, PollHandle>();

// Called by libuv in the middle of its own work, where no JavaScript may run for long and no promise is settled: the
// work itself is done in the same turn of the loop, in its check phase.
const makeCallbacks = () => ({
  onPoll: koffi.register((handle: unknown) => handles.get(koffi.address(handle))?.ready(), pollCallback),
  onClose: koffi.register((handle: unknown) => {
    const address = koffi.address(handle);
    setImmediate(() => handles.get(address)?.free());
  }, closeCallback),
});
let callbacks: ReturnType<typeof makeCallbacks> | undefined;

class PollHandle implements ReadableWatch {
  readonly #memory: unknown;
  readonly #address: bigint;
  readonly #onReadable: () => void;
  #state: 'watching' | 'paused' | 'closed' = 'paused';
  #due = false;

  constructor(fd: number, onReadable: () => void) {
    callbacks ??= makeCallbacks();
    this.#onReadable = onReadable;
    this.#memory = koffi.alloc('char', Number(cHandleSize(UV_POLL)));
    this.#address = koffi.address(this.#memory);
    const error = cPollInit(cDefaultLoop(), this.#memory, fd);
    if (error !== 0) {
      koffi.free(this.#memory);
      throw new Error(`uv_poll_init of fd ${fd}: ${cErrName(error)}`);
    }
    handles.set(this.#address, this);
    this.resume();
  }

  pause(): void {
    if (this.#state !== 'watching') return;
    this.#state = 'paused';
    cPollStop(this.#memory);
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'watching';
    const error = cPollStart(this.#memory, UV_READABLE, callbacks!.onPoll);
    if (error !== 0) throw new Error(`uv_poll_start: ${cErrName(error)}`);
  }

  [Symbol.dispose](): void {
    if (this.#state === 'closed') return;
    this.pause();
    this.#state = 'closed';
    cClose(this.#memory, callbacks!.onClose);
  }

  ready(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => {
      this.#due = false;
      if (this.#state === 'watching') this.#onReadable();
    });
  }

  free(): void {
    handles.delete(this.#address);
    koffi.free(this.#memory);
  }
}

/**
 * Calls back while a descriptor has something to read, is at its end or has failed: for those that Node.js has no class
 * for (a pidfd, an eventfd, an inotify or signalfd descriptor), or that are to be read by a call of one's own (splice(2)).
 * Level-triggered: called again and again until it was read. Sets O_NONBLOCK on the open file. In a forked process only
 * after `restartLoop`. Dispose of it before the descriptor is closed, or with {@link closeWatched}.
 */
export function watchReadable(fd: number, onReadable: () => void): ReadableWatch {
  return new PollHandle(fd, onReadable);
}

/** Ends a watch and closes its descriptor. */
export function closeWatched(watch: ReadableWatch, fd: number): void {
  watch[Symbol.dispose]();
  closeFd(fd); // uv_close(3) has taken it out of the loop's epoll set already
}
