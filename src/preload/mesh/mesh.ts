import { isMainThread } from "node:worker_threads";
import type { Settings } from "../settings.ts";
import { patchDial } from "./dial.ts";
import { isOfFetch, patchFetch } from "./fetch.ts";
import { closeIdle, patchHttp } from "./http.ts";
import { Http2Traces } from "./http2.ts";
import { type MeshSettings, nameRulesOfFiles, type NameRules } from "./settings.ts";
import { isTracedByAnother, outsideTraces, rememberTraces, traceHttp, traceUndici } from "./trace.ts";
import { Ways } from "./ways.ts";

/** Calls of this program go to the pods behind a Service, and take the trace along of the request that they are made for. */
export function joinMesh(mesh: MeshSettings, plain: Settings | undefined): void {
  let rules: NameRules | null | undefined;
  const server = mesh.feed.slice(0, mesh.feed.indexOf(":"));
  const findRules = (): NameRules | undefined => {
    if (!plain) return nameRulesOfFiles(server);
    if (plain.dns.address !== server) return undefined;
    return { searches: plain.searches, ndots: plain.ndots, known: (name) => Object.hasOwn(plain.hosts, name) || name === process.env["HOSTNAME"] };
  };
  const ways = new Ways(mesh, { rules: () => (rules === undefined ? (rules = findRules() ?? null) : rules) ?? undefined, left: closeIdle, outside: outsideTraces });
  const traces = !isTracedByAnother(process.env, process.execArgv);
  const http2 = traces ? new Http2Traces() : undefined;
  const noticed = (): void => http2?.look();
  patchDial(ways, isOfFetch, noticed);
  patchHttp(ways, traces ? traceHttp : () => {});
  patchFetch(ways, traces ? traceUndici : () => {});
  if (traces) rememberTraces(noticed);
  if (isMainThread) ways.hello();
}
