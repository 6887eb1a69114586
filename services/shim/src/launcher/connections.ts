import { FlotillaError } from '@flotilla/errors';
import { accept4, POLLIN, type PollFd } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { Connection } from './connection.ts';
import { toErrorReply } from './replies.ts';

const mostConnections = 512;

export interface ConnectionsOptions {
  readonly listenFd: number;
  readonly log: Logger;
  /** Answers, now or later. What it throws is the answer. */
  readonly onRequest: (connection: Connection, request: LauncherRequest) => void;
  readonly onGone: (connection: Connection) => void;
}

/** Those who ask. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #connections = new Map<number, Connection>();
  #isListening = true;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get pollFds(): readonly PollFd[] {
    const { listenFd } = this.#options;
    const isOpen = this.#isListening && this.#connections.size < mostConnections;
    const listening = isOpen ? [{ fd: listenFd, events: POLLIN }] : [];
    return [...listening, ...[...this.#connections.values()].map(({ fd, events }) => ({ fd, events }))];
  }

  /** False: those who come from now on wait, for the next launcher. */
  set isListening(value: boolean) {
    this.#isListening = value;
  }

  /** Whether nobody else is being served, nor has connected and is about to ask. */
  isAlone(connection: Connection): boolean {
    return [...this.#connections.values()].every((one) => one === connection || one.isOver);
  }

  /** Goes on with those that are ready, and takes in new ones. */
  advance(ready: ReadonlyMap<number, number>): void {
    for (const connection of [...this.#connections.values()]) if (ready.has(connection.fd)) this.#converse(connection);
    if (this.#isListening && ready.has(this.#options.listenFd)) this.#accept();
    this.#dropFinished();
  }

  #accept(): void {
    const { listenFd } = this.#options;
    for (let fd = accept4(listenFd); fd !== undefined; fd = accept4(listenFd)) {
      const connection = new Connection(fd);
      this.#connections.set(fd, connection);
      if (connection.isTrusted()) this.#converse(connection);
      else refuse(connection);
      if (!this.#isListening || this.#connections.size >= mostConnections) return;
    }
  }

  #converse(connection: Connection): void {
    const { log, onRequest } = this.#options;
    try {
      const request = connection.onReady();
      if (request !== undefined) onRequest(connection, request);
    } catch (err) {
      if (!(err instanceof FlotillaError)) log.error({ err }, 'request failed');
      connection.reply(toErrorReply(err));
    }
  }

  #dropFinished(): void {
    for (const connection of this.#connections.values()) {
      if (!connection.isOver) continue;
      this.#connections.delete(connection.fd);
      this.#options.onGone(connection);
      connection.close();
    }
  }
}

function refuse(connection: Connection): void {
  const message = 'only root and the user of the engine may talk to the launcher';
  connection.reply(toErrorReply(new FlotillaError('permission_denied', message, { reason: 'PEER_NOT_ALLOWED' })));
}
