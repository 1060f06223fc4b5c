import { X509Certificate } from "node:crypto";
import { Socket } from "node:net";
import { checkServerIdentity, connect, createSecureContext, createServer, type SecureContext, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import type { ListenerTls, Upstream } from "../../api/traffic.ts";
import type { TcpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import { DuplexStream } from "./duplex-stream.ts";
import type { Stream } from "./stream.ts";

/** The certificates of one listener, read once; a renewed one is a new object, for the connections that come then. */
export class ListenerCertificates {
  readonly settings: ListenerTls;
  readonly #pairs: { certificate: X509Certificate; context: SecureContext }[];
  /** Of the first one. */
  readonly options: SecureContextOptions | undefined;

  /** @throws Error a certificate, key or authority that OpenSSL does not accept */
  constructor(settings: ListenerTls) {
    this.settings = settings;
    const { minVersion, maxVersion, ciphers, clientValidation } = settings;
    const optionsOf = ({ certificate, key }: ListenerTls["certificates"][number]): SecureContextOptions => ({
      cert: certificate,
      key,
      minVersion: minVersion ?? "TLSv1.2",
      ...(maxVersion && { maxVersion }),
      ...(ciphers && { ciphers }),
      ...(clientValidation && { ca: clientValidation.authorities }),
    });
    this.#pairs = settings.certificates.map((pair) => ({ certificate: new X509Certificate(pair.certificate), context: createSecureContext(optionsOf(pair)) }));
    this.options = settings.certificates[0] && optionsOf(settings.certificates[0]);
  }

  /** The first that fits the name, else the first; undefined when there is none. */
  contextFor(serverName: string): SecureContext | undefined {
    const fitting = serverName === "" ? undefined : this.#pairs.find(({ certificate }) => certificate.checkHost(serverName) !== undefined);
    return (fitting ?? this.#pairs[0])?.context;
  }
}

/** What is known of a client when its handshake is done. */
export interface Secured {
  /** That it asked for, in lower case; "" when it named none. */
  serverName: string;
  /** "h2", "http/1.1", or "" when it did not say. */
  protocol: string;
  /** Its certificate was asked for, and is one that an authority of the listener has signed. */
  authorized: boolean;
}

export interface TlsFrontOptions {
  /** Of the listener that this server name leads to; undefined: the handshake is refused. */
  certificatesFor(serverName: string): ListenerCertificates | undefined;
  /** Clients are asked for a certificate. Whether theirs is good enough is seen in {@link Secured}. */
  asksForCertificate: boolean;
  secured(stream: Stream, details: Secured, address: string): void;
  /** A handshake that came to nothing, with OpenSSL's reason. */
  failed?(reason: string, address: string): void;
}

/** Ends TLS for the connections of one socket; what is inside goes to the engine as if it had come in the clear. */
export class TlsFront {
  readonly #server: Server;
  readonly #options: TlsFrontOptions;

  constructor(options: TlsFrontOptions) {
    this.#options = options;
    this.#server = createServer({
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: limits.gatewayHeadersMs,
      requestCert: options.asksForCertificate,
      rejectUnauthorized: false,
      allowHalfOpen: true,
      SNICallback: (name, done) => {
        const context = options.certificatesFor(name.toLowerCase())?.contextFor(name.toLowerCase());
        if (context) done(null, context);
        else done(new Error(`no listener for the server name ${JSON.stringify(name)}`));
      },
    });
    this.refresh();
    this.#server.on("secureConnection", (socket: TLSSocket) => {
      const serverName = typeof socket.servername === "string" ? socket.servername.toLowerCase() : "";
      options.secured(new DuplexStream(socket, socket.alpnProtocol === "h2"), { serverName, protocol: socket.alpnProtocol || "", authorized: socket.authorized }, socket.remoteAddress ?? "");
    });
    this.#server.on("tlsClientError", (error: Error, socket: TLSSocket) => options.failed?.(error.message, socket.remoteAddress ?? ""));
  }

  /** To be called when certificates have changed: clients that name no server are shown what leads to the name "". */
  refresh(): void {
    const unnamed = this.#options.certificatesFor("")?.options;
    if (unnamed) this.#server.setSecureContext(unnamed);
  }

  /** `hello`: bytes that were read already. */
  accept(handle: TcpHandle, hello?: Buffer): void {
    handle.setNoDelay(true);
    const socket = new Socket({ handle, allowHalfOpen: true } as never);
    socket.on("error", () => socket.destroy());
    if (hello) socket.unshift(hello);
    this.#server.emit("connection", socket);
  }
}

/** How a pool speaks TLS to its endpoints: the `secure` of `UpstreamSettings`. */
export function secureUpstream(tls: NonNullable<Upstream["tls"]>, protocol: Upstream["protocol"] = "http1"): (handle: TcpHandle, done: (stream: Stream | undefined, reason: string) => void) => void {
  const context = createSecureContext({ ...(tls.authorities && { ca: tls.authorities }), ...(tls.certificate && { cert: tls.certificate.certificate, key: tls.certificate.key }) });
  const names = tls.altNames ?? [];
  return (handle, done) => {
    handle.setNoDelay(true);
    const socket = connect({
      socket: new Socket({ handle, allowHalfOpen: true } as never),
      secureContext: context,
      servername: tls.serverName,
      ...(tls.verify === false && { rejectUnauthorized: false }),
      ALPNProtocols: [protocol === "http1" ? "http/1.1" : "h2"],
      checkServerIdentity: (name, certificate) => {
        if (names.length === 0) return checkServerIdentity(name, certificate);
        const said = (certificate.subjectaltname ?? "").split(", ");
        const fits = names.some((wanted) => said.includes(`URI:${wanted}`) || checkServerIdentity(wanted, certificate) === undefined);
        return fits ? undefined : new Error("none of the wanted names is in the certificate");
      },
    });
    let open = true;
    const fail = (error: Error) => {
      clearTimeout(timer);
      if (!open) return;
      open = false;
      socket.destroy();
      done(undefined, `TLS: ${error.message}`);
    };
    const timer = setTimeout(fail, limits.gatewayConnectMs, new Error("the handshake took too long")).unref();
    socket.once("error", fail);
    socket.once("secureConnect", () => {
      clearTimeout(timer);
      if (!open) return;
      if (protocol !== "http1" && socket.alpnProtocol !== "h2") return fail(new Error("it does not speak HTTP/2"));
      open = false;
      socket.off("error", fail);
      done(new DuplexStream(socket), "");
    });
  };
}
