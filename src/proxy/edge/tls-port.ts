import type { EdgeListener } from "../../api/traffic.ts";
import { type TcpHandle, WriteWrap } from "../../base/handles.ts";
import { HostIndex } from "../../policy/host-index.ts";
import type { Stream } from "../http/stream.ts";
import { Handshake, ListenerCertificates } from "../http/tls.ts";
import { resetHandle } from "../pump.ts";
import { peerAddress } from "../tcp-service.ts";
import { isLetIn } from "./client-certificate.ts";
import { readProxied } from "./first-bytes.ts";
import { readHello } from "./hello.ts";

/** What becomes of a connection, once it is known whom it asks for; `serverName` is "" when the client named none. */
export interface TlsDoors {
  /** Decrypted. */
  terminated(stream: Stream, listener: EdgeListener, serverName: string, address: string, certificate: Buffer | undefined): void;
  /** As it came; `hello` has been read from it. False: nobody is there. */
  passed(client: TcpHandle, hello: Buffer, listener: EdgeListener, serverName: string): boolean;
  failed(reason: string, address: string): void;
}

/** TLS alerts, RFC 8446 §6.2: the client is told why before it is left. */
const unrecognizedName = 112;
const decodeError = 50;

/**
 * One address and port that is spoken TLS at. The first bytes name a server, which decides the listener; the listener
 * decides whether they are decrypted here.
 */
export class TlsPort {
  readonly #doors: TlsDoors;
  #byName = new HostIndex<EdgeListener>();
  #only: EdgeListener | undefined;
  #certificates = new Map<string, ListenerCertificates>();
  #proxied: EdgeListener["proxyProtocol"];
  #openingMs: number | undefined;

  constructor(listeners: readonly EdgeListener[], doors: TlsDoors) {
    this.#doors = doors;
    this.listeners = listeners;
  }

  /** Connections that are open keep the certificate that they were shown. */
  set listeners(listeners: readonly EdgeListener[]) {
    const byName = new HostIndex<EdgeListener>();
    const certificates = new Map<string, ListenerCertificates>();
    for (const listener of listeners) {
      byName.set(listener.hostname ?? "", listener);
      if (listener.tls?.mode !== "terminate") continue;
      const known = this.#certificates.get(listener.id);
      certificates.set(listener.id, known?.settings === listener.tls ? known : new ListenerCertificates(listener.tls));
    }
    this.#byName = byName;
    this.#only = listeners.length === 1 ? listeners[0] : undefined;
    this.#certificates = certificates;
    this.#openingMs = listeners.find(({ openingMs }) => openingMs !== undefined)?.openingMs;
    this.#proxied = listeners.find(({ proxyProtocol }) => proxyProtocol)?.proxyProtocol;
  }

  /** The listener for a name; a client that names none gets one without a host name, or the only one there is. */
  find(serverName: string): EdgeListener | undefined {
    return this.#byName.find(serverName) ?? (serverName === "" ? this.#only : undefined);
  }

  accept(client: TcpHandle): void {
    // What comes before a name is known is all listeners' of the port.
    if (!this.#proxied) return this.#greet(client);
    readProxied(client, this.#proxied === "optional", (address, came) => this.#greet(client, address, came), this.#openingMs);
  }
  #greet(client: TcpHandle, address?: string, came?: Buffer): void {
    readHello(client, (hello, { name }) => {
      const listener = name === undefined ? undefined : this.find(name);
      if (!listener) this.#refuse(client, name === undefined ? decodeError : unrecognizedName);
      else if (listener.tls!.mode === "terminate") this.#terminate(client, hello, name!, listener, address ?? peerAddress(client));
      else if (listener.refusal !== undefined || !this.#doors.passed(client, hello, listener, name!)) resetHandle(client);
    }, came && came.length > 0 ? came : undefined, this.#openingMs);
  }
  #terminate(client: TcpHandle, hello: Buffer, name: string, listener: EdgeListener, address: string): void {
    const certificates = this.#certificates.get(listener.id);
    if (!certificates?.contextFor(name)) {
      this.#refuse(client, unrecognizedName);
      return this.#doors.failed(`no certificate for the server name ${JSON.stringify(name)}`, address);
    }
    new Handshake(client, hello, name, certificates, (stream, secured, reason) => {
      if (!stream) return this.#doors.failed(reason, address);
      // What is no listener's any more is nobody's: the listener may have gone, or be another one now.
      const now = this.find(name);
      const validation = now?.tls?.clientValidation;
      if (!now || (validation && !isLetIn(validation, secured))) return stream.reset();
      this.#doors.terminated(stream, now, name, address, now.manners?.clientCertificate && validation ? secured.peerCertificate() : undefined);
    });
  }

  /** Where nothing is decrypted, nobody is here who could speak TLS. */
  #refuse(client: TcpHandle, description: number): void {
    if (this.#certificates.size === 0) return resetHandle(client);
    const request = new WriteWrap();
    request.oncomplete = () => {};
    client.writeBuffer(request, Buffer.from([21, 3, 3, 0, 2, 2, description]));
    client.close();
  }
}
