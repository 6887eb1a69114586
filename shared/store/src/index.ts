export { checkSchema, Database, openDatabase } from './database.ts';
export { LogFlusher } from './log-flusher.ts';
export { Outbox, type OutboxEntry, type OutboxRow, outboxMigration } from './outbox.ts';
