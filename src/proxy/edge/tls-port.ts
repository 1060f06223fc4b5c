import type { EdgeListener } from "../../api/traffic.ts";
import { endOfFile, lastReadResult, type TcpHandle, WriteWrap } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import { HostIndex } from "../../policy/host-index.ts";
import type { Stream } from "../http/stream.ts";
import { ListenerCertificates, TlsFront } from "../http/tls.ts";
import { resetHandle } from "../pump.ts";
import { helloBytesMax, serverNameOf } from "./server-name.ts";

/** What becomes of a connection, once it is known whom it asks for; `serverName` is "" when the client named none. */
export interface TlsDoors {
  /** Decrypted. */
  terminated(stream: Stream, listener: EdgeListener, serverName: string, address: string): void;
  /** As it came; `hello` has been read from it. False: nobody is there. */
  passed(client: TcpHandle, hello: Buffer, listener: EdgeListener, serverName: string): boolean;
  failed(reason: string, address: string): void;
}

/** TLS alerts, RFC 8446 §6.2: the client is told why before it is left. */
const unrecognizedName = 112;
const decodeError = 50;
/** Connections of one worker whose first bytes are not all there. More: the next is reset. */
let hellos = 0;

/**
 * One address and port that is spoken TLS at. The first bytes name a server, which decides the listener; the listener
 * decides whether they are decrypted here.
 */
export class TlsPort {
  readonly #doors: TlsDoors;
  #byName = new HostIndex<EdgeListener>();
  #only: EdgeListener | undefined;
  #certificates = new Map<string, ListenerCertificates>();
  #front!: TlsFront;

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
    this.#front = new TlsFront({
      certificatesFor: (name) => certificates.get(this.find(name)?.id ?? ""),
      asksForCertificate: listeners.some(({ tls }) => tls?.clientValidation),
      secured: (stream, { serverName, authorized }, address) => {
        const listener = this.find(serverName);
        const validation = listener?.tls?.clientValidation;
        if (!listener || (validation && !validation.optional && !authorized)) return stream.reset();
        this.#doors.terminated(stream, listener, serverName, address);
      },
      failed: (reason, address) => this.#doors.failed(reason, address),
    });
  }

  /** The listener for a name; a client that names none gets one without a host name, or the only one there is. */
  find(serverName: string): EdgeListener | undefined {
    return this.#byName.find(serverName) ?? (serverName === "" ? this.#only : undefined);
  }

  accept(client: TcpHandle): void {
    if (hellos >= limits.gatewayHellosMax) return resetHandle(client);
    hellos++;
    let have = Buffer.alloc(0);
    const over = () => {
      clearTimeout(timer);
      hellos--;
      client.readStop();
    };
    const timer = setTimeout(() => {
      over();
      resetHandle(client);
    }, limits.gatewayHeadersMs).unref();
    // Without a buffer of ours Node hands over one for each read: once a connection, that is cheap.
    client.onread = ((bytes: ArrayBuffer | undefined) => {
      const result = lastReadResult();
      if (result === 0) return;
      if (result < 0) {
        over();
        return void (result === endOfFile ? client.close() : resetHandle(client));
      }
      const read = Buffer.from(bytes!, 0, result);
      have = have.length === 0 ? read : Buffer.concat([have, read]);
      const asked = serverNameOf(have);
      if (asked === undefined && have.length < helloBytesMax) return;
      over();
      const listener = asked?.name === undefined ? undefined : this.find(asked.name);
      if (!listener) this.#refuse(client, asked?.name === undefined ? decodeError : unrecognizedName);
      else if (listener.tls!.mode === "terminate") this.#front.accept(client, have);
      else if (!this.#doors.passed(client, have, listener, asked!.name!)) resetHandle(client);
    }) as TcpHandle["onread"];
    if (client.readStart() !== 0) {
      over();
      client.close();
    }
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
