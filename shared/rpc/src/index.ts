export { type CallOptions, type Client, type ClientOptions, connect } from './connect.ts';
export { forward } from './forward.ts';
export { fromGrpcError, toGrpcStatus } from './grpc-errors.ts';
export { type CallContext, type Handlers, type Implementation, implement } from './implement.ts';
export { optionsThenChunks } from './options-then-chunks.ts';
export { type RpcServer, type ServeOptions, serve } from './serve.ts';
export { type TurnOptions, takeTurn, tellManager } from './service-manager.ts';
export type { MethodShape, RequestOf, ResponseOf, ServiceShape } from './service-shape.ts';
export { engineVersion, protocolVersion } from './version.ts';
