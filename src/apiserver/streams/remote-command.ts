import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import type { RawData, WebSocket } from "ws";
import { channels, encodeFrame, FrameReader } from "../../api/node.ts";
import { internalError, type Status } from "../../api/status.ts";
import type { Log } from "../../base/log.ts";
import { relayed } from "../../base/relayed.ts";
import type { SpdyConnection, SpdyStream } from "./spdy.ts";

/**
 * Exec and attach between a client and the node's frames, both with back-pressure: who does not read stops who
 * writes. Source: k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/kubelet/pkg/cri/streaming/remotecommand.
 */
export interface CommandSession {
  stream: Duplex;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** v5 adds the end of stdin, v4 the exit code as a Status, v3 window sizes. "base64": browsers' text messages. */
export const webSocketCommandProtocols = ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];
export const spdyCommandProtocols = ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/** Waiting for a client that reads slowly. */
const clientBytesMax = 1024 * 1024;
/** The node refuses frames over 1 MiB; smaller ones interleave better. */
const frameBytes = 32 * 1024;
const closeGraceMs = 5_000;

const lostStatus = (): Buffer => Buffer.from(JSON.stringify(internalError("the connection to the container was lost").toStatus()));

/** Before v4 the error channel carries a text, and nothing when all went well. */
function statusFor(protocol: string, status: Buffer): Buffer | undefined {
  if (/^v[45]\./.test(protocol)) return status;
  const { status: outcome, message } = JSON.parse(status.toString()) as Status;
  return outcome === "Success" ? undefined : Buffer.from(message ?? "the command failed");
}

function* pieces(chunk: Buffer): Generator<Buffer> {
  for (let at = 0; at < chunk.length; at += frameBytes) yield chunk.subarray(at, at + frameBytes);
}

/**
 * kubectl reads before it has made the streams that it reads for, and throws away what comes too early ("Unknown stream
 * id 1, discarding message"). From another machine nothing is that fast; from here a short command's output was lost.
 */
const clientStreamsMs = 20;

export function runWebSocket(client: WebSocket, session: CommandSession, protocol: string, log: Log): void {
  const { stream } = session;
  const base64 = protocol.includes("base64");
  let over = false;

  const send = (channel: number, payload: Buffer) => {
    if (client.readyState !== client.OPEN) return;
    const message = base64 ? `${channel}${payload.toString("base64")}` : Buffer.concat([Buffer.from([channel]), payload]);
    client.send(message, () => {
      if (stream.isPaused() && client.bufferedAmount < clientBytesMax) stream.resume();
    });
    if (client.bufferedAmount >= clientBytesMax) stream.pause();
    relayed(payload.length);
  };
  const end = (status: Buffer) => {
    if (over) return;
    over = true;
    const payload = statusFor(protocol, status);
    if (payload) send(channels.status, payload);
    client.close(1000);
    setTimeout(() => client.terminate(), closeGraceMs).unref();
    stream.end();
  };
  const reader = new FrameReader((channel, payload) => {
    if (channel === channels.status) end(Buffer.from(payload));
    else if (channel === channels.stdout || channel === channels.stderr) send(channel, payload);
  });
  stream.on("data", (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch (error) {
      log.warn("a stream of the node is damaged", { error });
      stream.destroy();
    }
  });
  stream.on("error", () => end(lostStatus()));
  stream.on("close", () => end(lostStatus()));
  stream.on("end", () => end(lostStatus()));
  stream.on("drain", () => client.resume());
  stream.pause();
  setTimeout(() => {
    // An empty message on the first channel that we write says that the command is there, as the kubelet does.
    send(session.stdout ? channels.stdout : session.stderr ? channels.stderr : channels.status, Buffer.alloc(0));
    stream.resume();
  }, clientStreamsMs);

  client.on("message", (data: RawData) => {
    const message = data as Buffer;
    if (message.length === 0) return;
    const channel = base64 ? message[0]! - 0x30 : message[0]!;
    const payload = base64 ? Buffer.from(message.toString("latin1", 1), "base64") : message.subarray(1);
    if (!stream.writable) return;
    let room = true;
    if (channel === channels.stdin) for (const piece of pieces(payload)) room = stream.write(encodeFrame(channels.stdin, piece));
    else if (channel === channels.resize) room = stream.write(encodeFrame(channels.resize, payload));
    else if (channel === channels.close && protocol.startsWith("v5.")) room = stream.write(encodeFrame(channels.close, payload));
    if (!room) client.pause();
    relayed(payload.length);
  });
  client.once("close", () => {
    over = true;
    stream.destroy();
  });
}

/** How long a client may take to open the streams that it asked for. Upstream: 30 s. */
const streamCreationMs = 30_000;

export function runSpdy(connection: SpdyConnection, accept: { onStream: (stream: SpdyStream) => void; onClose: () => void }, session: CommandSession, protocol: string, log: Log): void {
  const { stream } = session;
  const resizable = session.tty && /^v[345]\./.test(protocol);
  const expected = new Set(["error", ...(session.stdin ? ["stdin"] : []), ...(session.stdout ? ["stdout"] : []), ...(session.stderr ? ["stderr"] : []), ...(resizable ? ["resize"] : [])]);
  const streams = new Map<string, SpdyStream>();
  let over = false;
  const late = setTimeout(() => connection.close(), streamCreationMs);
  late.unref();

  accept.onClose = () => {
    over = true;
    clearTimeout(late);
    stream.destroy();
  };
  accept.onStream = (opened) => {
    const type = opened.headers.get("streamtype") ?? "";
    if (!expected.has(type) || streams.has(type)) return void opened.destroy();
    streams.set(type, opened);
    if (streams.size < expected.size) return;
    clearTimeout(late);
    start();
  };

  function start(): void {
    const end = (status: Buffer) => {
      if (over) return;
      over = true;
      const payload = statusFor(protocol, status);
      const errors = streams.get("error")!;
      const outputs = ["stdout", "stderr"].flatMap((name) => streams.get(name) ?? []);
      stream.end();
      // The connection ends when the last of them has gone out, or cannot any more.
      void Promise.allSettled([...outputs, errors].map((output) => finished(output, { readable: false }))).then(() => connection.close());
      for (const output of outputs) output.end();
      errors.end(payload);
    };
    const reader = new FrameReader((channel, payload) => {
      if (channel === channels.status) return end(Buffer.from(payload));
      const output = streams.get(channel === channels.stdout ? "stdout" : "stderr");
      if (!output || output.writableEnded || output.write(payload)) return;
      stream.pause();
      output.once("drain", () => stream.resume());
    });
    stream.on("data", (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        log.warn("a stream of the node is damaged", { error });
        stream.destroy();
      }
    });
    for (const event of ["error", "close", "end"]) stream.on(event, () => end(lostStatus()));

    const stdin = streams.get("stdin");
    stdin?.on("data", (chunk: Buffer) => {
      if (!stream.writable) return;
      let room = true;
      for (const piece of pieces(chunk)) room = stream.write(encodeFrame(channels.stdin, piece));
      if (room) return;
      stdin.pause();
      stream.once("drain", () => stdin.resume());
    });
    stdin?.on("end", () => stream.writable && stream.write(encodeFrame(channels.close, Buffer.from([channels.stdin]))));
    // One JSON value a message, but a byte stream may join two.
    let sizes = "";
    streams.get("resize")?.on("data", (chunk: Buffer) => {
      sizes += chunk.toString("utf8");
      for (let close = sizes.indexOf("}"); close >= 0; close = sizes.indexOf("}")) {
        if (stream.writable) stream.write(encodeFrame(channels.resize, Buffer.from(sizes.slice(0, close + 1).trim())));
        sizes = sizes.slice(close + 1);
      }
      if (sizes.length > 1024) sizes = "";
    });
    streams.get("error")!.resume();
    for (const name of ["stdout", "stderr"]) streams.get(name)?.resume();
  }
}
