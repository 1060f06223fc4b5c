import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load, loadAll } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import type { HttpRoute } from "../../api/traffic.ts";
import { FakeClock } from "../../base/clock.ts";
import { RouteTable } from "../../policy/route-table.ts";
import { edited, handle, requestView, toolsAt } from "../../policy/testing/request.ts";
import { Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

/**
 * What becomes of requests under a VirtualService: cases/*.txt. A block begins with `== TITLE`, goes on with its `spec` in YAML
 * (without `hosts`, which are `web`), and ends with requests:
 *
 *   2x POST /path?query [name: value; name: value] -> EXPECTED
 *
 * `client`, `port` and `listener` among the headers are those. Expected is `PORT/SUBSET` of Service web or `NAME:PORT/SUBSET` of
 * another one, a status, or `none`; then NAME=VALUE of what is changed: `target` `host` `mirrors` `request.NAME` `response.NAME`
 * `flag` `body` `location`; `held` when it is delayed. Beside it are the objects of cases/world.yaml.
 */
const folder = join(import.meta.dirname, "cases");
const world = (loadAll(readFileSync(join(folder, "world.yaml"), "utf8")) as unknown as KubeObject[]).map((object) => ({ ...object, metadata: Object.assign({ creationTimestamp: "2026-01-01T00:00:00Z", namespace: "shop" }, object.metadata) }));

for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
  for (const block of readFileSync(join(folder, file), "utf8").split(/^== /m).slice(1)) {
    const [title, ...lines] = block.split("\n").filter((line) => !line.startsWith("#"));
    const isRequest = (line: string): boolean => / -> /.test(line) && /^(\d+x )?[A-Z]+ \//.test(line);
    test(`${file.slice(0, -4)}: ${title}`, () => {
      const spec = load(lines.filter((line) => !isRequest(line)).join("\n")) as object;
      const virtualService = { apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name: "web", namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z" }, spec: { hosts: ["web"], ...spec } };
      const translator = new Translator(new ObjectWorld([...world, virtualService as unknown as KubeObject]));
      translator.flush();
      const clock = new FakeClock();
      const table = new RouteTable({ ...toolsAt(clock), sessionKey: "0".repeat(32) });
      for (const route of translator.snapshot().routes) table.put(route as HttpRoute);
      for (const line of lines.filter(isRequest)) check(table, line);
    });
  }
}

function check(table: RouteTable, line: string): void {
  const [, times = "1", method, target, headerText = "", expected] = /^(?:(\d+)x )?(\S+) (\S+)(?: \[(.*?)\])? -> (.*)$/.exec(line)!;
  const headers = Object.fromEntries(headerText.split("; ").filter(Boolean).map((header) => [header.slice(0, header.indexOf(":")), header.slice(header.indexOf(":") + 1).trim()]));
  const { client = "10.244.0.9", port = "80", listener = `service:shop/web/${port}`, ...own } = headers;
  for (let i = 0; i < Number(times); i++) assert.equal(outcome(table, listener, { method: method!, target: target!, client, port: Number(port), headers: { host: "web", ...own } }, expected!), expected, line);
}

function outcome(table: RouteTable, listener: string, fields: { method: string; target: string; client: string; port: number; headers: Record<string, string> }, expected: string): string {
  const request = requestView({ ...fields, host: fields.headers["host"]!.replace(/:\d+$/, "") });
  const found = table.find(listener, request);
  if (!found.rule) return "none";
  const { exchange, forwarded, answer } = handle(found.rule.serve, request, { match: found.match, captures: found.captures });
  const [, ...asked] = expected.split(" ");
  const short = (upstream: string | undefined): string => (upstream ?? "").replace(/^istio:shop\//, "").replace(/^(\w+)\/(\d+)\/(\w*)@.*$/, (_, name: string, port: string, subset: string) => `${name === "web" ? "" : `${name}:`}${port}${subset === "" ? "" : `/${subset}`}`);
  const values: Record<string, string | undefined> = {
    target: exchange.target,
    host: exchange.host,
    mirrors: exchange.mirrors?.map(short).join(","),
    flag: answer?.flag,
    body: answer?.body,
    location: answer?.headers.find(([name]) => name === "location")?.[1],
  };
  const shown = asked.map((text) => {
    const name = text.slice(0, text.indexOf("="));
    const [side, header] = name.split(".");
    const value = header === undefined ? values[name] : side === "request" ? edited(fields.headers, exchange.requestHeaders)[header] : edited(Object.fromEntries(answer?.headers ?? []), exchange.responseHeaders)[header];
    return `${name}=${value ?? ""}`;
  });
  return [answer ? String(answer.status) : forwarded ? short(exchange.upstream) : "held", ...shown].join(" ");
}
