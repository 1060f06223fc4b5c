import type { Duplex } from "node:stream";
import type { RawData, WebSocket } from "ws";
import type { PodKey } from "../../api/node.ts";
import { badRequestError } from "../../api/status.ts";
import { relayed } from "../../base/relayed.ts";
import type { SpdyStream } from "./spdy.ts";

type Dial = (port: number) => Promise<Duplex>;

/** What a client reads about a connection that could not be made; the form is the kubelet's. */
const failure = (port: number, { namespace, name, uid }: PodKey, error: unknown): string => `error forwarding port ${port} to pod ${name}_${namespace}, uid ${uid}: ${(error as Error).message}`;

/** How long a connection's second stream may take. Upstream: 30 s. */
const pairMs = 30_000;

/**
 * One connection is two streams with the same `requestid`: "error", on which trouble is told, and "data".
 * Each side may end its half. Source: k8s.io/kubelet/pkg/cri/streaming/portforward/httpstream.go.
 */
export function forwardSpdy(accept: { onStream: (stream: SpdyStream) => void; onClose: () => void }, dial: Dial, pod: PodKey): void {
  const waiting = new Map<string, { error?: SpdyStream; data?: SpdyStream; timer: NodeJS.Timeout }>();
  accept.onClose = () => {
    for (const { timer } of waiting.values()) clearTimeout(timer);
    waiting.clear();
  };
  accept.onStream = (stream) => {
    const type = stream.headers.get("streamtype");
    const port = portOf(stream.headers.get("port"));
    if ((type !== "error" && type !== "data") || port === undefined) return void stream.destroy();
    // Clients of old times number nothing: then a pair is one stream and the next.
    const id = stream.headers.get("requestid") ?? String(type === "error" ? stream.id : stream.id - 2);
    let pair = waiting.get(id);
    if (!pair) {
      const timer = setTimeout(() => {
        const late = waiting.get(id);
        waiting.delete(id);
        late?.error?.destroy();
        late?.data?.destroy();
      }, pairMs);
      timer.unref();
      waiting.set(id, (pair = { timer }));
    }
    if (pair[type]) return void stream.destroy();
    pair[type] = stream;
    if (!pair.error || !pair.data) return;
    clearTimeout(pair.timer);
    waiting.delete(id);
    void forward(pair.error, pair.data, port);
  };

  async function forward(error: SpdyStream, data: SpdyStream, port: number): Promise<void> {
    error.resume();
    try {
      const connection = await dial(port);
      if (data.destroyed) return void connection.destroy();
      await join(connection, data);
    } catch (problem) {
      if (!error.destroyed) error.write(failure(port, pod, problem));
    }
    if (!data.writableEnded) data.end();
    if (!error.writableEnded) error.end();
    // The client has nothing more to say to a connection that is over.
    data.resume();
  }
}

/** Both ways with back-pressure and half-close, until both are over. Rejects when the pod's side breaks. */
function join(connection: Duplex, client: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = 2;
    const half = () => void (--open === 0 && resolve());
    connection.pipe(client, { end: false });
    client.pipe(connection, { end: false });
    connection.once("end", () => {
      client.end();
      half();
    });
    client.once("end", () => {
      connection.end();
      half();
    });
    connection.once("error", (error) => {
      connection.destroy();
      reject(error);
    });
    connection.once("close", resolve);
    client.once("close", () => {
      if (!connection.destroyed && !(client.readableEnded && client.writableFinished)) connection.destroy();
      resolve();
    });
  });
}

function portOf(text: string | null | undefined): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text ?? "") && port > 0 && port < 65_536 ? port : undefined;
}

/** `?ports=80&ports=81,82`: what clients without SPDY ask for. Throws 400. */
export function portsOf(query: URLSearchParams): number[] {
  const texts = query.getAll("ports").flatMap((text) => text.split(","));
  if (texts.length === 0) throw badRequestError('query parameter "ports" is required');
  return texts.map((text) => {
    const port = portOf(text.trim());
    if (port === undefined) throw badRequestError(`query parameter "ports" cannot be ${JSON.stringify(text)}: it must be a number between 1 and 65535`);
    return port;
  });
}

/** Waiting for a client that reads slowly. */
const clientBytesMax = 1024 * 1024;

/**
 * Port-forward over plain WebSocket channels: port n has 2n for data and 2n+1 for errors, each beginning with the
 * port's number as two bytes, little end first. There is no half-close: the end of a port's connection is the end
 * of the session when it was the only one. Source: k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go.
 */
export function forwardChannels(client: WebSocket, ports: readonly number[], dial: Dial, pod: PodKey, base64: boolean): void {
  const connections: (Duplex | undefined)[] = [];
  let left = ports.length;
  const send = (channel: number, payload: Buffer, from?: Duplex) => {
    if (client.readyState !== client.OPEN) return;
    const message = base64 ? `${channel}${payload.toString("base64")}` : Buffer.concat([Buffer.from([channel]), payload]);
    client.send(message, () => from?.isPaused() && client.bufferedAmount < clientBytesMax && from.resume());
    if (client.bufferedAmount >= clientBytesMax) from?.pause();
    relayed(payload.length);
  };
  const finished = () => void (--left === 0 && client.close(1000));
  for (const [index, port] of ports.entries()) {
    const number = Buffer.alloc(2);
    number.writeUInt16LE(port);
    send(index * 2, number);
    send(index * 2 + 1, number);
    const early: Buffer[] = [];
    const waitingRoom = { write: (chunk: Buffer) => early.push(chunk) > 0 } as unknown as Duplex;
    connections[index] = waitingRoom;
    dial(port).then(
      (connection) => {
        if (client.readyState !== client.OPEN) return void connection.destroy();
        connections[index] = connection;
        for (const chunk of early) connection.write(chunk);
        connection.on("data", (chunk: Buffer) => send(index * 2, chunk, connection));
        connection.on("drain", () => client.resume());
        connection.once("error", (error) => send(index * 2 + 1, Buffer.from(failure(port, pod, error))));
        connection.once("close", finished);
        connection.once("end", () => connection.end());
      },
      (error: unknown) => {
        send(index * 2 + 1, Buffer.from(failure(port, pod, error)));
        connections[index] = undefined;
        finished();
      },
    );
  }
  client.on("message", (data: RawData) => {
    const message = data as Buffer;
    if (message.length === 0) return;
    const channel = base64 ? message[0]! - 0x30 : message[0]!;
    if (channel % 2 !== 0) return;
    const payload = base64 ? Buffer.from(message.toString("latin1", 1), "base64") : message.subarray(1);
    if (payload.length > 0 && connections[channel / 2]?.write(payload) === false) client.pause();
    relayed(payload.length);
  });
  client.once("close", () => {
    for (const connection of connections) connection?.destroy?.();
  });
}
