import { globSync } from 'node:fs';
import { createRequire } from 'node:module';
import { protoRoot } from '@flotilla/proto/root';
import type { Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';

const require = createRequire(import.meta.url);

interface Loaded {
  readonly service: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

interface LazyMethod {
  readonly path: string;
  /** Name in the service's definition. */
  readonly key: string;
  /** Name in its implementation. */
  readonly handler: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/**
 * Adds services whose code is loaded at their first call: a shim weighs what it has loaded, and few are ever asked.
 */
function addLazily(server: Server, methods: readonly LazyMethod[], load: () => Loaded): void {
  let loaded: Loaded | undefined;
  const get = (): Loaded => (loaded ??= load());
  const service = Object.fromEntries(
    methods.map(({ path, key, requestStream, responseStream }) => [
      key,
      {
        path,
        requestStream,
        responseStream,
        originalName: key,
        requestSerialize: (value: unknown) => get().service[key]!.requestSerialize(value),
        requestDeserialize: (bytes: Buffer) => get().service[key]!.requestDeserialize(bytes),
        responseSerialize: (value: unknown) => get().service[key]!.responseSerialize(value),
        responseDeserialize: (bytes: Buffer) => get().service[key]!.responseDeserialize(bytes),
      },
    ]),
  );
  const implementation = Object.fromEntries(
    methods.map(({ key, handler, responseStream, requestStream }) => {
      const handle = (...call: readonly unknown[]) =>
        (get().implementation[handler] as (...call: readonly unknown[]) => void)(...call);
      // grpc-js tells the kinds of handlers apart by their number of parameters.
      return [
        key,
        responseStream || requestStream
          ? (call: unknown) => handle(call)
          : (call: unknown, callback: unknown) => handle(call, callback),
      ];
    }),
  );
  server.addService(service, implementation as UntypedServiceImplementation);
}

/** What the packages put on a server, caught before it is put there. */
function capture(add: (server: { addService: Server['addService'] }) => void): Map<string, Loaded> {
  const found = new Map<string, Loaded>();
  add({
    addService: (service: ServiceDefinition, implementation: UntypedServiceImplementation) => {
      const path = Object.values(service)[0]?.path ?? '';
      found.set(path.slice(1, path.lastIndexOf('/')), { service, implementation });
    },
  });
  return found;
}

/** grpc.health.v1.Health: the whole process and each of its services are SERVING for as long as it answers. */
export function addHealth(server: Server, services: readonly string[]): void {
  const name = 'grpc.health.v1.Health';
  const methods = [
    { path: `/${name}/Check`, key: 'Check', handler: 'check', requestStream: false, responseStream: false },
    { path: `/${name}/Watch`, key: 'Watch', handler: 'watch', requestStream: false, responseStream: true },
  ];
  addLazily(server, methods, () => {
    const { HealthImplementation, service } = require('grpc-health-check') as typeof import('grpc-health-check');
    const statuses = Object.fromEntries(['', ...services].map((one) => [one, 'SERVING' as const]));
    const health = new HealthImplementation(statuses);
    const caught = [...capture((target) => health.addToServer(target as never)).values()][0];
    if (caught === undefined) throw new Error('grpc-health-check added no service');
    return { service: service as unknown as ServiceDefinition, implementation: caught.implementation };
  });
}

/** grpc.reflection.v1 and v1alpha: what is served and with which messages. */
export function addReflection(server: Server, services: readonly string[]): void {
  for (const version of ['v1', 'v1alpha']) {
    const name = `grpc.reflection.${version}.ServerReflection`;
    const methods = [
      {
        path: `/${name}/ServerReflectionInfo`,
        key: 'ServerReflectionInfo',
        handler: 'ServerReflectionInfo',
        requestStream: true,
        responseStream: true,
      },
    ];
    addLazily(server, methods, () => {
      const { loadSync } = require('@grpc/proto-loader') as typeof import('@grpc/proto-loader');
      const { ReflectionService } = require('@grpc/reflection') as typeof import('@grpc/reflection');
      const files = globSync('flotilla/**/*.proto', { cwd: protoRoot });
      const definition = loadSync(files, { includeDirs: [protoRoot], keepCase: true });
      const reflection = new ReflectionService(definition, { services: [...services] });
      const caught = capture((target) => reflection.addToServer(target as never)).get(name);
      if (caught === undefined) throw new Error(`@grpc/reflection added no ${name}`);
      return caught;
    });
  }
}
