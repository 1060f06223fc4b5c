import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";

/** What became of one connection; `uri`: whose certificate the door has shown; `got`: all that came. */
export interface Outcome {
  got: string;
  uri: string | undefined;
  protocol: string | undefined;
}

/** Sends `text` and hears until `isAll`, or to the end. Over TLS with `tls`; believes any server, and says who it is. */
export function say({ host, port, localAddress, text, isAll, tls }: { host: string; port: number; localAddress: string; text: string; isAll(got: string): boolean; tls?: ConnectionOptions | undefined }): Promise<Outcome> {
  return new Promise((resolve) => {
    let got = "";
    let uri: string | undefined;
    const tcp = connect({ host, port, localAddress });
    const socket: Socket = tls ? connectTls({ socket: tcp, rejectUnauthorized: false, ...tls }) : tcp;
    const over = () => {
      const { alpnProtocol } = socket as TLSSocket;
      tcp.destroy();
      socket.destroy();
      resolve({ got, uri, protocol: alpnProtocol || undefined });
    };
    tcp.on("error", () => {});
    socket.on("error", () => {}).on("close", over).on("end", over);
    socket.on("data", (bytes: Buffer) => {
      got += bytes.toString();
      if (isAll(got)) over();
    });
    socket.once(tls ? "secureConnect" : "connect", () => {
      uri = tls && uriOf(socket as TLSSocket);
      socket.write(text);
    });
  });
}

export const uriOf = (socket: TLSSocket): string | undefined => /^URI:(\S+)$/.exec(socket.getPeerCertificate().subjectaltname ?? "")?.[1];

/** One request of HTTP/2 over TLS. */
export function askHttp2({ host, port, localAddress, path, tls }: { host: string; port: number; localAddress: string; path: string; tls: ConnectionOptions }): Promise<Outcome & { status: number | undefined }> {
  return new Promise((resolve) => {
    let status: number | undefined;
    let got = "";
    let uri: string | undefined;
    const tcp = connect({ host, port, localAddress }).on("error", () => {});
    const secured = connectTls({ socket: tcp, rejectUnauthorized: false, ...tls }).on("error", () => {});
    const over = () => {
      tcp.destroy();
      resolve({ got, uri, protocol: secured.alpnProtocol || undefined, status });
    };
    secured.on("close", over);
    secured.once("secureConnect", () => {
      uri = uriOf(secured);
      const session = connectHttp2("https://web.shop", { createConnection: () => secured }).on("error", over);
      const asked = session.request({ ":path": path });
      asked.on("response", (headers) => (status = headers[":status"]));
      asked.setEncoding("utf8").on("data", (piece: string) => (got += piece));
      asked.on("end", over).on("error", over).end();
    });
  });
}
