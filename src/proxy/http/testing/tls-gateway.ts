import { bindHandle } from "../../../base/handles.ts";
import { defaultBounds } from "../engine.ts";
import type { Bounds, Listener } from "../routing.ts";
import { TlsFront, type ListenerCertificates } from "../tls.ts";
import type { TestGateway } from "./gateway.ts";

/** A port of loopback where TLS ends, before the gateway's engine and the same upstream. */
export function startTls(gateway: TestGateway, certificates: ReadonlyMap<string, ListenerCertificates>, options: { asksForCertificate?: boolean; bounds?: Partial<Bounds> } = {}): { port: number; failures: string[] } & AsyncDisposable {
  const bound = bindHandle("127.0.0.1", 0);
  const { handle } = bound;
  if (!handle) throw new Error(bound.code);
  const failures: string[] = [];
  const listener: Listener = {
    id: "tls",
    port: bound.port,
    scheme: "https",
    trusted: false,
    bounds: { ...defaultBounds, ...options.bounds },
    route: () => ({
      name: "all",
      handler: (exchange, outcome) => {
        exchange.upstream = "shop/web/80";
        outcome.forward(exchange);
      },
      ...gateway.routed,
    }),
  };
  const front = new TlsFront({
    certificatesFor: (name) => certificates.get(name) ?? certificates.get("*"),
    asksForCertificate: options.asksForCertificate ?? false,
    secured: (stream, { authorized }, address) => (options.asksForCertificate && !authorized ? stream.reset() : gateway.engine.acceptStream(stream, listener, address)),
    failed: (reason) => failures.push(reason),
  });
  handle.onconnection = (status, client) => {
    if (status === 0) front.accept(client);
  };
  handle.listen(128);
  return { port: bound.port, failures, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => handle.close(resolve)) };
}
