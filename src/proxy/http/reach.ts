import { type TcpHandle, WriteWrap } from "../../base/handles.ts";
import type { Endpoint } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import { type Origin, proxyHeader } from "./proxy-header.ts";
import type { Stream } from "./stream.ts";
import type { UpstreamSettings } from "./upstream-pool.ts";

/** A new connection to an endpoint as its upstream wants it: kept alive, told whose it is, encrypted. `done` hears of it later. */
export function reach(dialEndpoint: typeof dial, { ip, port }: Endpoint, settings: UpstreamSettings, origin: Origin | undefined, done: (connected: TcpHandle | Stream | undefined, reason: string) => void): void {
  dialEndpoint(ip, port, settings.connectMs, (status, handle) => {
    if (!handle) return done(undefined, status === -110 ? "it did not accept in time" : "it does not accept connections");
    if (settings.keepAliveSeconds !== undefined) handle.setKeepAlive(true, settings.keepAliveSeconds);
    if (settings.proxyProtocol) {
      const request = new WriteWrap();
      request.oncomplete = () => {};
      handle.writeBuffer(request, proxyHeader(settings.proxyProtocol, origin));
    }
    if (!settings.secure) return done(handle, "");
    settings.secure(handle, done);
  });
}
