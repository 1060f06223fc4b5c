import type { JournalRecord } from "./journal.ts";

/**
 * Records packed into one buffer, which is handed between the store and its thread without copying:
 *
 *   u8 type (0 put, 1 delete)   u32 key bytes   u32 value bytes   f64 revision   key   value
 */
const headBytes = 17;

export function pack(records: readonly JournalRecord[]): ArrayBuffer {
  let size = 0;
  for (const { type, key, bytes } of records) size += headBytes + Buffer.byteLength(key) + (type === "put" ? bytes.length : 0);
  const buffer = Buffer.from(new ArrayBuffer(size));
  let at = 0;
  for (const { type, key, revision, bytes } of records) {
    const keyBytes = buffer.write(key, at + headBytes, "utf8");
    const valueBytes = type === "put" ? bytes.length : 0;
    buffer[at] = type === "put" ? 0 : 1;
    buffer.writeUInt32LE(keyBytes, at + 1);
    buffer.writeUInt32LE(valueBytes, at + 5);
    buffer.writeDoubleLE(revision, at + 9);
    at += headBytes + keyBytes;
    if (valueBytes > 0) buffer.set(bytes, at);
    at += valueBytes;
  }
  return buffer.buffer as ArrayBuffer;
}

/** The records; their `bytes` are views into `memory`. */
export function* unpack(memory: ArrayBuffer): Generator<JournalRecord> {
  const buffer = Buffer.from(memory);
  for (let at = 0; at < buffer.length; ) {
    const keyEnd = at + headBytes + buffer.readUInt32LE(at + 1);
    const end = keyEnd + buffer.readUInt32LE(at + 5);
    yield { type: buffer[at] === 0 ? "put" : "delete", key: buffer.toString("utf8", at + headBytes, keyEnd), revision: buffer.readDoubleLE(at + 9), bytes: buffer.subarray(keyEnd, end) };
    at = end;
  }
}
