import { constants, X509Certificate } from "node:crypto";
import { Socket } from "node:net";
import { checkServerIdentity, connect, createSecureContext, type SecureContext } from "node:tls";
import type { ListenerTls, Upstream } from "../../api/traffic.ts";
import { lastReadResult, type TcpHandle, type TlsHandle, wrapTls } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import { DuplexStream } from "./duplex-stream.ts";
import { sharedRead, type Stream } from "./stream.ts";
import { endTls, onTlsError, TlsStream, tlsSweeper } from "./tls-stream.ts";

/** The certificates of one listener, read once; a renewed one is a new object, for the connections that come then. */
export class ListenerCertificates {
  readonly settings: ListenerTls;
  /** In the form of {@link TlsHandle.setALPNProtocols}. */
  readonly protocols: Buffer;
  readonly #pairs: { certificate: X509Certificate; context: SecureContext }[];

  /**
   * `resumes`: a client may take up its last session, whose certificates nobody looks at again.
   * @throws Error a certificate, key, authority or list of revoked ones that OpenSSL does not accept
   */
  constructor(settings: ListenerTls, { resumes = settings.resumes !== false } = {}) {
    this.settings = settings;
    const { minVersion, maxVersion, ciphers, curves, signatures, clientValidation, protocols = ["h2", "http/1.1"] } = settings;
    this.protocols = Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name, "latin1")])));
    this.#pairs = settings.certificates.map(({ certificate, key }) => ({
      certificate: new X509Certificate(certificate),
      context: createSecureContext({
        cert: certificate,
        key,
        minVersion: minVersion ?? "TLSv1.2",
        ...(maxVersion && { maxVersion }),
        ...(ciphers && { ciphers }),
        ...(curves && { ecdhCurve: curves }),
        ...(signatures && { sigalgs: signatures }),
        ...(clientValidation && clientValidation.authorities !== "" && { ca: clientValidation.authorities }),
        ...(clientValidation?.revoked && { crl: clientValidation.revoked }),
        // Without one, OpenSSL resumes no session whose client has shown a certificate. Each context has ticket keys of its own.
        ...(resumes ? { sessionIdContext: "wherry" } : { secureOptions: constants.SSL_OP_NO_TICKET }),
      }),
    }));
  }

  /** The first that fits the name, else the first; undefined when there is none. */
  contextFor(serverName: string): SecureContext | undefined {
    const fitting = serverName === "" || this.#pairs.length < 2 ? undefined : this.#pairs.find(({ certificate }) => certificate.checkHost(serverName) !== undefined);
    return (fitting ?? this.#pairs[0])?.context;
  }
}

/** What is known of a client when its handshake is done. */
export interface Secured {
  /** "h2", "http/1.1", or "" when it did not say. */
  protocol: string;
  /** Its certificate was asked for, and is one that an authority of the listener has signed. */
  authorized: boolean;
  /** DER of the certificate that it has shown, good or not. Only within the callback. */
  peerCertificate(): Buffer | undefined;
  /** Why OpenSSL does not believe it: "CERT_HAS_EXPIRED". Only within the callback. */
  refusal(): string | undefined;
}
const nothingSecured: Secured = { protocol: "", authorized: false, peerCertificate: () => undefined, refusal: () => undefined };

/**
 * A handshake, from the client's first bytes on, which have said for whom it asks. What is inside goes on as if it had come in the
 * clear. `done` gets the stream, or why there is none; then the connection is closed.
 */
export class Handshake {
  readonly #tls: TlsHandle;
  readonly #tcp: TcpHandle;
  readonly #serverName: string;
  readonly #asksForCertificate: boolean;
  readonly #done: (stream: TlsStream | undefined, secured: Secured, reason: string) => void;
  #stream: TlsStream | undefined;
  #isOver = false;
  deadline = Infinity;

  /** `protocols`: those that may be spoken inside, in the form of {@link TlsHandle.setALPNProtocols}; undefined: nothing is said of it. */
  constructor(tcp: TcpHandle, hello: Buffer, serverName: string, certificates: ListenerCertificates, done: (stream: TlsStream | undefined, secured: Secured, reason: string) => void, { protocols }: { protocols: Buffer | undefined } = { protocols: certificates.protocols }) {
    this.#tcp = tcp;
    this.#serverName = serverName;
    this.#done = done;
    this.#asksForCertificate = certificates.settings.clientValidation !== undefined;
    const tls = wrapTls(tcp, certificates.contextFor(serverName)!);
    this.#tls = tls;
    if (protocols) tls.setALPNProtocols(protocols);
    // Whether its certificate is good enough is for others to say.
    if (this.#asksForCertificate) tls.setVerifyMode(true, false);
    tls.onhandshakestart = () => this.#begun();
    tls.onhandshakedone = () => this.#made();
    onTlsError(tls, (error) => this.#failed(error.message), () => this.#isOver);
    tls.useUserBuffer(sharedRead);
    tls.onread = () => {
      if (lastReadResult() < 0) this.#failed("the client left within the handshake");
      return undefined;
    };
    tlsSweeper.add(this);
    this.deadline = tlsSweeper.now + (certificates.settings.handshakeMs ?? limits.gatewayHeadersMs);
    tls.receive(hello);
    if (!this.#isOver) tls.readStart();
  }

  /** A client that wants to negotiate again makes work for us alone (CVE-2011-1473). */
  #begun(): void {
    if (this.#stream) process.nextTick(() => this.#stream!.reset());
  }
  #made(): void {
    if (this.#isOver) return;
    const tls = this.#tls;
    const named = (tls.getServername() || "").toLowerCase().replace(/\.$/, "");
    // Whoever reads one name into the first bytes and another into the same bytes is not to choose whose certificate is asked for.
    // Of a session that is taken up again OpenSSL does not always know it; it is one of this listener's, whose keys its ticket has.
    if (named !== this.#serverName && !tls.isSessionReused()) return this.#failed("the server name is not the one that was read");
    this.#isOver = true;
    tlsSweeper.remove(this);
    const protocol = tls.getALPNNegotiatedProtocol() || "";
    const authorized = this.#asksForCertificate && !tls.verifyError() && tls.hasPeerCertificate();
    this.#tcp.setNoDelay(true);
    this.#stream = new TlsStream(tls, this.#tcp, protocol === "h2");
    this.#done(this.#stream, { protocol, authorized, peerCertificate: () => tls.getPeerCertificate(true)?.raw, refusal: () => (tls.verifyError() as (Error & { code?: string }) | null | undefined)?.code }, "");
  }
  #failed(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    tlsSweeper.remove(this);
    endTls(this.#tls, this.#tcp, false);
    this.#done(undefined, nothingSecured, reason);
  }
  expire(): void {
    this.#failed("the handshake took too long");
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
