/** netlink(7): the header of each message. */
export const headerBytes = 16;
/** Header of an attribute. */
const attributeHeaderBytes = 4;
/** The length field of an attribute has 16 bits. */
const longestAttributeBytes = 0xffff;
const NLA_F_NESTED = 0x8000;
const attributeTypeMask = 0x3fff;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

/** A message to send: the socket adds sequence number and acknowledgement flag. */
export interface NetlinkRequest {
  /** RTM_… */
  readonly type: number;
  /** NLM_F_… besides REQUEST and ACK. */
  readonly flags: number;
  /** What follows the header: the family's own header, then attributes. */
  readonly body: Buffer;
  /** The call and its object, for errors: `RTM_NEWLINK veth0`. */
  readonly what: string;
}

/** A message received. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** An attribute: a number of type (NLA) and its bytes; nested ones hold attributes themselves. */
export type Attribute = Buffer;

/** Encodes one attribute, padded to four bytes. RangeError when the value does not fit into the 16 bits of its length. */
export function attribute(type: number, value: Uint8Array): Attribute {
  const length = attributeHeaderBytes + value.byteLength;
  if (length > longestAttributeBytes) {
    throw new RangeError(`netlink attribute ${type} of ${value.byteLength} bytes: at most 65531 fit`);
  }
  const encoded = Buffer.alloc(align(length));
  encoded.writeUInt16LE(length, 0);
  encoded.writeUInt16LE(type, 2);
  encoded.set(value, attributeHeaderBytes);
  return encoded;
}

/** An attribute that holds attributes. */
export function nested(type: number, ...attributes: readonly Attribute[]): Attribute {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/** As {@link nested}, without the flag: for old attributes that strict parsers know without it. */
export function container(type: number, ...parts: readonly Buffer[]): Attribute {
  return attribute(type, Buffer.concat(parts));
}

/** Text with its terminating zero. RangeError when it holds one itself or is longer than the kernel's field. */
export function textAttribute(type: number, text: string, mostBytes: number): Attribute {
  const bytes = Buffer.from(`${text}\0`);
  if (bytes.length > mostBytes + 1 || bytes.indexOf(0) !== bytes.length - 1) {
    throw new RangeError(`${JSON.stringify(text)} must have at most ${mostBytes} bytes and no NUL`);
  }
  return attribute(type, bytes);
}

/** A 32-bit number. */
export function numberAttribute(type: number, value: number): Attribute {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

/** An 8-bit number. */
export function byteAttribute(type: number, value: number): Attribute {
  const bytes = Buffer.alloc(1);
  bytes.writeUInt8(value);
  return attribute(type, bytes);
}

/** Decodes attributes by type; of one that occurs twice the last counts. RangeError when a length points outside. */
export function decodeAttributes(bytes: Buffer, from = 0): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let at = from; at + attributeHeaderBytes <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < attributeHeaderBytes || at + length > bytes.length) {
      throw new RangeError(`netlink attribute at ${at} says ${length} bytes of the ${bytes.length - at} that are left`);
    }
    attributes.set(
      bytes.readUInt16LE(at + 2) & attributeTypeMask,
      bytes.subarray(at + attributeHeaderBytes, at + length),
    );
    at += align(length);
  }
  return attributes;
}

/** Encodes a message with its header. */
export function encodeMessage({ type, flags, body }: NetlinkRequest, sequence: number, moreFlags: number): Buffer {
  const message = Buffer.alloc(headerBytes + align(body.length));
  message.writeUInt32LE(headerBytes + body.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(flags | moreFlags, 6);
  message.writeUInt32LE(sequence, 8);
  body.copy(message, headerBytes);
  return message;
}

/** Decodes what one recv gave. RangeError when a length points outside. */
export function decodeMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < headerBytes || at + length > bytes.length) {
      throw new RangeError(`netlink message at ${at} says ${length} bytes of the ${bytes.length - at} that are left`);
    }
    messages.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      body: bytes.subarray(at + headerBytes, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** A 32-bit number of an attribute; `undefined` when it is absent. RangeError when it is too short. */
export function readNumber(attributes: ReadonlyMap<number, Buffer>, type: number): number | undefined {
  return attributes.get(type)?.readUInt32LE(0);
}

/** Text of an attribute, without its terminating zero. */
export function readText(attributes: ReadonlyMap<number, Buffer>, type: number): string | undefined {
  const bytes = attributes.get(type);
  if (bytes === undefined) return undefined;
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

/** NLMSG_ALIGN, NLA_ALIGN. */
function align(length: number): number {
  return (length + 3) & ~3;
}
