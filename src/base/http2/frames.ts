/** Frames of HTTP/2. Source: RFC 9113 §4, §6, §7. */
export const frames = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, pushPromise: 5, ping: 6, goAway: 7, windowUpdate: 8, continuation: 9 } as const;
export const flags = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;
export const settings = { headerTableSize: 1, enablePush: 2, maxConcurrentStreams: 3, initialWindowSize: 4, maxFrameSize: 5, maxHeaderListSize: 6, /** RFC 8441 */ enableConnectProtocol: 8 } as const;
export const codes = { none: 0, protocol: 1, internal: 2, flowControl: 3, settingsTimeout: 4, streamClosed: 5, frameSize: 6, refused: 7, cancel: 8, compression: 9, connect: 10, calm: 11 } as const;
export type Code = (typeof codes)[keyof typeof codes];

export const headBytes = 9;
/** What every endpoint must take; we ask for no more, and send no more. */
export const payloadBytesMax = 16_384;
export const windowMax = 2 ** 31 - 1;
export const defaultWindow = 65_535;
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export function writeHead(buffer: Buffer, at: number, length: number, type: number, flag: number, stream: number): void {
  buffer[at] = length >>> 16;
  buffer[at + 1] = length >>> 8;
  buffer[at + 2] = length;
  buffer[at + 3] = type;
  buffer[at + 4] = flag;
  buffer.writeUInt32BE(stream, at + 5);
}

export function encodeFrame(type: number, flag: number, stream: number, payload?: Uint8Array): Buffer {
  const length = payload?.length ?? 0;
  const frame = Buffer.allocUnsafe(headBytes + length);
  writeHead(frame, 0, length, type, flag, stream);
  if (payload) frame.set(payload, headBytes);
  return frame;
}

export function encodeSettings(values: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(values.length * 6);
  for (const [index, [id, value]] of values.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return encodeFrame(frames.settings, 0, 0, payload);
}

/** A frame whose payload is numbers of 32 bits: RST_STREAM, WINDOW_UPDATE, GOAWAY. */
export function encodeNumbers(type: number, stream: number, ...numbers: number[]): Buffer {
  const payload = Buffer.allocUnsafe(numbers.length * 4);
  for (const [index, number] of numbers.entries()) payload.writeUInt32BE(number, index * 4);
  return encodeFrame(type, 0, stream, payload);
}
