import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { GrpcClient } from '../harness/grpc-client.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start({ FLOTILLA_LOG: 'debug' });
});
after(() => engine[Symbol.asyncDispose]());

test('one id leads through the logs of every service that had a part in a request', async () => {
  using grpc = new GrpcClient(`${engine.folders.run}/api.sock`);
  const headers = { 'x-request-id': 'trace-of-one-request' };
  const config = { image: demoImage, command: ['sleep', '600'] };
  const { container_id } = await grpc.call('ContainerService', 'CreateContainer', { config }, headers);
  await grpc.call('ContainerService', 'StartContainer', { container: container_id }, headers);
  for (const service of ['api', 'supervisor', 'image', 'network', 'launcher'] as const) {
    const lines = engine.log(service).filter((line) => line.includes('"requestId":"trace-of-one-request"'));
    assert.ok(lines.length > 0, `the log of ${service} does not tell of the request`);
  }
});
