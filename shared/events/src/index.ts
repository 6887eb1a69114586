export { connectNats } from './connect-nats.ts';
export { type DomainEvent, EventPublisher, type EventPublisherOptions } from './event-publisher.ts';
export { eventStream, eventSubject } from './event-stream.ts';
export { type StreamEventsOptions, streamEvents } from './stream-events.ts';
