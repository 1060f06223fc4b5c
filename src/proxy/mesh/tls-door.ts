import type { PeerMode } from "../../api/guard.ts";
import { accountKey, type MeshAccount } from "../../api/mesh-identity.ts";
import type { TcpHandle } from "../../base/handles.ts";
import { writeSpiffeId } from "../../base/spiffe.ts";
import type { Flag } from "../../policy/flags.ts";
import { readHello } from "../edge/hello.ts";
import { Handshake, type ListenerCertificates } from "../http/tls.ts";
import type { TlsStream } from "../http/tls-stream.ts";
import { resetHandle } from "../pump.ts";
import type { ServicePort } from "../service-table.ts";
import type { Caller } from "./caller.ts";
import type { Identities } from "./identities.ts";
import { readPeer } from "./peer.ts";
import { trustDomain } from "./trust-domain.ts";

/** What TLS has proved of a client. */
export interface Proved {
  /** Undefined: it has shown no certificate, and its address proves nothing. */
  peer: Caller | undefined;
  /** "" when it named none. */
  serverName: string;
}

export interface TlsDoorOptions {
  identities: Identities;
  /** Of the pods of a Service port, the strictest first; undefined: no PeerAuthentication says anything. */
  peerMode(service: ServicePort): PeerMode | undefined;
  /** Of the pod with this address. */
  accountAt(address: string): MeshAccount | undefined;
  refused(address: string, service: ServicePort, flag: Flag, reason: string): void;
}
/** "No identity": whatever is wrong with what was to prove it. */
const flag = "NI";

export interface TlsClient {
  address: string;
  service: ServicePort;
  /** "http": HTTP is spoken inside; "unknown": that shows; "opaque": it does not matter. */
  inside: "http" | "unknown" | "opaque";
  /** The programs speak HTTP/2. */
  prefersHttp2: boolean;
  /** It is nothing of ours: goes on as it came. */
  passed(client: TcpHandle, hello: Buffer): void;
  opened(stream: TlsStream, proved: Proved): void;
}

const http1 = ["http/1.1", "istio-http/1.1", "http/1.0", "istio-http/1.0"];
const http2 = ["h2", "istio-h2"];
/** Istio's sidecars tell each other of themselves inside of it, before the client's own bytes. It is known, and never chosen. */
const exchange = "istio-peer-exchange";

/**
 * Connections to Services that begin as TLS. What speaks the mesh's mTLS ends here: it is shown the certificate of the pods' service
 * account, and asked for one of its own. What is the programs' own TLS goes on unread.
 */
export class TlsDoor {
  readonly #options: TlsDoorOptions;

  constructor(options: TlsDoorOptions) {
    this.#options = options;
  }

  /** `first` has been read from it. */
  accept(handle: TcpHandle, first: Buffer, client: TlsClient): void {
    readHello(
      handle,
      (hello, { name, protocols }) => {
        const account = name !== undefined && this.#isOurs(client, protocols) ? this.#accountOf(client.service) : undefined;
        if (!account) return client.passed(handle, hello);
        const shake = (certificates: ListenerCertificates) => this.#shake(handle, hello, { name: name!, protocols: protocols! }, certificates, client);
        const certificates = this.#options.identities.of(account);
        if (!(certificates instanceof Promise)) return shake(certificates);
        certificates.then(shake, (error: Error) => {
          this.#options.refused(client.address, client.service, flag, `no certificate for ${accountKey(account)}: ${error.message}`);
          resetHandle(handle);
        });
      },
      first,
    );
  }

  /** Whether it is the mesh's: by what the client says, or because its server could not understand it, or would not hear it. */
  #isOurs({ service, inside, address }: TlsClient, protocols: readonly string[] | undefined): boolean {
    const mode = this.#options.peerMode(service);
    if (mode === "DISABLE") return false;
    if (protocols?.some((protocol) => protocol === "istio" || protocol.startsWith("istio-"))) return true;
    if (mode === undefined) return false;
    return inside === "http" || (mode === "STRICT" && this.#options.accountAt(address) === undefined);
  }

  /** As whom its pods are spoken for: of several accounts always the same one. */
  #accountOf({ port: { endpoints } }: ServicePort): MeshAccount | undefined {
    let found: MeshAccount | undefined;
    for (const { ip } of endpoints) {
      const account = this.#options.accountAt(ip);
      if (account && (!found || accountKey(account) < accountKey(found))) found = account;
    }
    return found && { namespace: found.namespace, serviceAccount: found.serviceAccount };
  }

  #shake(handle: TcpHandle, hello: Buffer, { name, protocols }: { name: string; protocols: readonly string[] }, certificates: ListenerCertificates, client: TlsClient): void {
    const chosen = chooseProtocol(protocols, client);
    const done = (stream: TlsStream | undefined, peerOf: () => { caller?: Caller | undefined; reason?: string | undefined }, reason: string) => {
      const { address, service } = client;
      const { refused } = this.#options;
      if (!stream) return refused(address, service, flag, `TLS: ${reason}`);
      const { caller, reason: why } = peerOf();
      if (why === undefined) return client.opened(stream, { peer: caller, serverName: name });
      refused(address, service, flag, why);
      // OpenSSL calls from within.
      process.nextTick(() => stream.reset());
    };
    new Handshake(handle, hello, name, certificates, (stream, { peerCertificate, refusal }, reason) => done(stream, () => this.#peerOf(client.address, peerCertificate(), refusal()), reason), { protocols: chosen === undefined ? undefined : Buffer.from(`${String.fromCharCode(chosen.length)}${chosen}`, "latin1") });
  }

  /**
   * Who it is, or why it is refused. A pod is who its address says, and a certificate that says otherwise is not its own. What is
   * shown must be good, whether or not anything here asks for it.
   */
  #peerOf(address: string, certificate: Buffer | undefined, refusal: string | undefined): { caller?: Caller | undefined; reason?: string | undefined } {
    const { accountAt } = this.#options;
    const pod = accountAt(address);
    const atAddress = pod && { trustDomain, namespace: pod.namespace, serviceAccount: pod.serviceAccount };
    if (!certificate) return { caller: atAddress };
    if (refusal !== undefined) return { reason: `the client's certificate: ${refusal}` };
    const { caller, reason } = readPeer(certificate, trustDomain);
    if (!caller) return { reason };
    if (atAddress && accountKey(atAddress) !== accountKey(caller)) return { reason: `${address} is a pod of ${accountKey(atAddress)}, and has shown the certificate of ${writeSpiffeId(caller)}` };
    return { caller };
  }
}

/** Undefined: nothing is said of it. A request goes on in the protocol in which it came, so it should be the programs' own. */
export function chooseProtocol(offered: readonly string[], { inside, prefersHttp2 }: Pick<TlsClient, "inside" | "prefersHttp2">): string | undefined {
  if (inside === "opaque") return offered.includes("istio") ? "istio" : offered.find((protocol) => protocol !== exchange);
  return [...(prefersHttp2 ? [...http2, ...http1] : [...http1, ...http2]), "istio"].find((protocol) => offered.includes(protocol));
}
