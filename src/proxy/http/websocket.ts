import { createHash, randomBytes } from "node:crypto";

/** What a WebSocket's handshake has in HTTP/1.1 alone (RFC 6455 §4); HTTP/2 has `:protocol` instead (RFC 8441 §5.1). */
export const newKey = (): string => randomBytes(16).toString("base64");
export const acceptOf = (key: string): string => createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
export const handshakeNames: ReadonlySet<string> = new Set(["sec-websocket-key", "sec-websocket-accept"]);
