import { connect, type ConnectionOptions } from "node:tls";

/**
 * Watches over one HTTP/2 connection that only look at frames: with Node's client, receiving a change a thousand times
 * costs more than the servers need to send it, and the bench would measure itself. Source: RFC 9113, RFC 7541.
 */
export interface Watches {
  close(): void;
}

const frame = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const flagAck = 1;
const flagEndHeaders = 4;
const flagEndStream = 1;
const windowMax = 2 ** 31 - 1;
const initialWindowSize = 4; // the number of the setting
/** HPACK: `:status: 200` as the static table has it, with which the answers of both servers begin. */
const status200 = 0x88;

/**
 * Opens `count` watches of `path`; resolves when all are answered with 200. `onLine` is called for every frame of data
 * that ends a line, with all of its bytes.
 */
export function openWatches(url: string, options: ConnectionOptions, path: string, headers: Readonly<Record<string, string>>, count: number, onLine: () => void): Promise<Watches> {
  const { hostname, port, host } = new URL(url);
  return new Promise((resolve, reject) => {
    // One buffer for all that is read: Node's own would be a new one for each record.
    const onread = { buffer: Buffer.alloc(256 * 1024), callback: (size: number, buffer: Uint8Array) => (read(buffer.subarray(0, size) as Buffer), true) };
    const socket = connect({ host: hostname, port: Number(port), ALPNProtocols: ["h2"], servername: "", onread, ...options } as ConnectionOptions);
    let opened = 0;
    let rest: Buffer = Buffer.alloc(0);
    const fail = (why: string) => {
      reject(new Error(why));
      socket.destroy();
    };
    const received = (type: number, flags: number, stream: number, payload: Buffer) => {
      switch (type) {
        case frame.data:
          if (payload.at(-1) === 10) onLine();
          if (flags & flagEndStream) fail(`watch ${stream} ended`);
          break;
        case frame.headers:
          if (payload[0] !== status200) return fail(`watch ${stream} was refused`);
          if (++opened === count) resolve({ close: () => socket.destroy() });
          break;
        case frame.settings:
          if (!(flags & flagAck)) socket.write(encode(frame.settings, flagAck, 0));
          break;
        case frame.ping:
          if (!(flags & flagAck)) socket.write(encode(frame.ping, flagAck, 0, payload));
          break;
        case frame.reset:
        case frame.goAway:
          fail(`the server ended ${type === frame.reset ? `watch ${stream}` : "the connection"}`);
      }
    };
    socket.on("error", reject);
    const read = (chunk: Buffer) => {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      let at = 0;
      while (at + 9 <= bytes.length) {
        const end = at + 9 + bytes.readUIntBE(at, 3);
        if (end > bytes.length) break;
        received(bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5) & windowMax, bytes.subarray(at + 9, end));
        at = end;
      }
      rest = Buffer.from(bytes.subarray(at));
    };
    socket.once("secureConnect", () => {
      socket.setNoDelay(true);
      const settings = Buffer.alloc(6);
      settings.writeUInt16BE(initialWindowSize, 0);
      settings.writeUInt32BE(windowMax, 2);
      const window = Buffer.alloc(4);
      window.writeUInt32BE(windowMax - 65_535, 0);
      const request = Buffer.concat(Object.entries({ ":method": "GET", ":scheme": "https", ":authority": host, ":path": path, ...headers }).flatMap(([name, value]) => literal(name, value)));
      const requests = Array.from({ length: count }, (_, index) => encode(frame.headers, flagEndHeaders | flagEndStream, index * 2 + 1, request));
      socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), encode(frame.settings, 0, 0, settings), encode(frame.windowUpdate, 0, 0, window), ...requests]));
    });
  });
}

function encode(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header without the tables and without Huffman's code: RFC 7541 §6.2.2. */
function literal(name: string, value: string): Buffer[] {
  return [Buffer.from([0]), text(name), text(value)];
}
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let left = bytes.length - 127;
  for (; left >= 128; left >>= 7) length.push((left & 127) | 128);
  return Buffer.concat([Buffer.from([...length, left]), bytes]);
}
