import { bindHandle } from "../../../base/handles.ts";
import { defaultBounds } from "../engine.ts";
import type { Bounds, Listener } from "../routing.ts";
import { readHello } from "../../edge/hello.ts";
import { peerAddress } from "../../tcp-service.ts";
import { Handshake, type ListenerCertificates } from "../tls.ts";
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
  handle.onconnection = (status, client) => {
    if (status !== 0) return;
    const address = peerAddress(client);
    readHello(client, (hello, { name = "" }) => {
      const own = certificates.get(name) ?? certificates.get("*");
      if (!own) {
        failures.push(`no certificates for ${name}`);
        return client.close();
      }
      new Handshake(client, hello, name, own, (stream, { authorized }, reason) => {
        if (!stream) failures.push(reason);
        else if (options.asksForCertificate && !authorized) stream.reset();
        else gateway.engine.acceptStream(stream, listener, address);
      });
    });
  };
  handle.listen(128);
  return { port: bound.port, failures, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => handle.close(resolve)) };
}
