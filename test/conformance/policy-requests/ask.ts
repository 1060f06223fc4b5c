import { connect } from "node:net";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";

export interface Answer {
  /** 0: the connection ended without one. */
  status: number;
  headers: [name: string, value: string][];
  body: string;
}

const patienceMs = 30_000;

/** These bytes by a connection of their own, and what came back until it ended. */
export async function ask(port: number, address: string, bytes: Buffer): Promise<Answer> {
  const socket = connect({ port, host: address, localAddress: "127.0.0.1" });
  // A reset after an answer is as good as an end.
  const chunks: Buffer[] = [];
  let giveUp: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve, reject) => {
    giveUp = setTimeout(() => reject(new Error(`no end of: ${Buffer.concat(chunks).toString("latin1").slice(0, 500)}`)), patienceMs);
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      // Who switched protocols keeps the connection.
      if (isWhole(Buffer.concat(chunks))) socket.destroy();
    });
    socket.on("close", () => resolve()).on("error", () => {});
    socket.write(bytes);
  }).finally(() => {
    clearTimeout(giveUp);
    socket.destroy();
  });
  return read(Buffer.concat(chunks));
}

function isWhole(bytes: Buffer): boolean {
  const text = bytes.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  if (text.startsWith("HTTP/1.1 101")) return true;
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end)) ?? [];
  return length !== undefined && bytes.length >= end + 4 + Number(length) && !text.startsWith("HTTP/1.1 100");
}

async function read(bytes: Buffer): Promise<Answer> {
  const text = bytes.toString("latin1");
  if (text.startsWith("HTTP/1.1 100")) return read(bytes.subarray(text.indexOf("\r\n\r\n") + 4));
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  if (end < 0 || !first.startsWith("HTTP/")) return { status: 0, headers: [], body: text.slice(0, 200) };
  const headers = lines.map((line): [string, string] => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  const valueOf = (wanted: string): string | undefined => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
  let body = bytes.subarray(end + 4);
  if (valueOf("transfer-encoding")?.toLowerCase() === "chunked") body = unchunked(body);
  const coding = valueOf("content-encoding");
  const decode = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync }[coding ?? ""];
  if (decode && body.length > 0) body = decode(body);
  return { status: Number(first.split(" ")[1]), headers, body: body.toString() };
}

function unchunked(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = bytes.indexOf("\r\n", at);
    const size = line < 0 ? 0 : Number.parseInt(bytes.toString("latin1", at, line), 16);
    if (!(size > 0)) return Buffer.concat(parts);
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
