/** A method as ts-proto describes it for grpc-js. */
export interface MethodShape {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: never) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

/** A service as ts-proto describes it: methods by their names in camel case. */
export type ServiceShape = Readonly<Record<string, MethodShape>>;

export type RequestOf<Method extends MethodShape> = ReturnType<Method['requestDeserialize']>;
export type ResponseOf<Method extends MethodShape> = ReturnType<Method['responseDeserialize']>;

/** `flotilla.v1.ContainerService` of a method's path. */
export function serviceNameOf(service: ServiceShape): string {
  const path = Object.values(service)[0]?.path ?? '//';
  return path.slice(1, path.indexOf('/', 1));
}

const asTheyAre = (bytes: Buffer): Buffer => bytes;

/** The same service with its messages left as bytes. */
export function asBytes<Service extends ServiceShape>(service: Service): ServiceShape {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      {
        ...method,
        requestSerialize: asTheyAre,
        requestDeserialize: asTheyAre,
        responseSerialize: asTheyAre,
        responseDeserialize: asTheyAre,
      },
    ]),
  );
}
