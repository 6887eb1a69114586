/**
 * A message as proto3 JSON with every field that is not optional, so that a script finds `exitCode` also when it is 0 (the
 * generated `toJSON` leaves out what has its default). 64-bit numbers are text, as proto3 JSON wants.
 */
export function toProtoJson(message: object): unknown {
  return JSON.parse(
    JSON.stringify(message, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  );
}
