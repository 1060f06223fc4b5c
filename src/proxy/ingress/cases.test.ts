import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import { FakeClock } from "../../base/clock.ts";
import { edited, handle, type Handled, requestView, toolsAt } from "../../policy/testing/request.ts";
import { RouteTable } from "../../policy/route-table.ts";
import type { Ingress, PathType } from "./kinds.ts";
import { Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

/** The cases of cases/*.txt, through the real translation and the real policy; cases/README.md says how they are written. */
const folder = join(import.meta.dirname, "cases");

for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
  const blocks: { title: string; steps: { line: number; text: string }[] }[] = [];
  for (const [i, text] of readFileSync(join(folder, file), "utf8").split("\n").entries()) {
    if (text.startsWith("== ")) blocks.push({ title: text.slice(3), steps: [] });
    else if (text.trim() !== "" && !text.startsWith("#")) blocks.at(-1)!.steps.push({ line: i + 1, text: text.trim() });
  }
  for (const { title, steps } of blocks) {
    test(`${file.slice(0, -4)}: ${title}`, () => {
      const desk = new Desk();
      for (const { line, text } of steps) {
        try {
          desk.step(text);
        } catch (error) {
          throw new Error(`cases/${file}:${line}: ${text}\n${(error as Error).message}`, { cause: error });
        }
      }
    });
  }
}

const service = (name: string) => ({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop" }, spec: { ports: [{ name: "http", port: 80 }] } });

class Desk {
  readonly #clock = new FakeClock();
  readonly #world = new ObjectWorld(["web", "rival", "other"].map(service) as never[]);
  readonly #translator = new Translator(this.#world, { certificate: "fake", key: "fake" });
  readonly #table = new RouteTable({ ...toolsAt(this.#clock), sessionKey: "0".repeat(32) });
  readonly #told = new Map<string, string[]>();
  #age = 0;
  #running: Handled[] = [];

  constructor() {
    this.#translator.bound = { http: 80, https: 443 };
  }

  step(text: string): void {
    const [, word = "", rest = ""] = /^(\S+)\s*(.*)$/.exec(text) ?? [];
    switch (word) {
      case "ingress":
        return this.#ingress(rest);
      case "object": {
        const object = load(rest) as never;
        this.#world.put(Object.assign(object, { metadata: { namespace: "shop", ...(object as { metadata: object }).metadata } }));
        return this.#translator.changed((object as { kind: string }).kind, `shop/${(object as { metadata: { name: string } }).metadata.name}`);
      }
      case "bound":
        this.#translator.bound = load(rest) as never;
        return;
      case "remove":
        this.#world.remove("Ingress", `shop/${rest}`);
        return this.#translator.changed("Ingress", `shop/${rest}`);
      // As the watch of EndpointSlices tells it.
      case "refresh":
        return this.#translator.changed("Service", `shop/${rest}`);
      case "wait":
        return this.#clock.advance(Number(rest));
      case "end":
        return this.#running.splice(0).forEach((handled) => handled.end());
      case "told": {
        this.#flush();
        const [, name = "", said = ""] = /^(\S+)\s*(.*)$/.exec(rest) ?? [];
        return assert.equal((this.#told.get(`shop/${name}`) ?? []).join(" | "), said);
      }
      default:
        return this.#request(text);
    }
  }

  /** "NAME HOST PATH>SERVICE… {annotation: value, …} [tls]" */
  #ingress(text: string): void {
    const [, name = "", host = "", paths = "", annotations = "{}", more = "{}"] = /^(\S+) (\S+)((?: [=~]?\/\S*>\S+)*)(?: (\{(?:'[^']*'|[^'}])*\}))?(?: (\{.*\}))?$/.exec(text) ?? assert.fail("no ingress");
    const given = load(annotations) as Record<string, string | number | boolean>;
    const object: Ingress = {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: {
        name,
        namespace: "shop",
        uid: name,
        resourceVersion: "1",
        creationTimestamp: new Date(Date.UTC(2026, 0, 1) + 1000 * this.#age++).toISOString(),
        annotations: Object.fromEntries(Object.entries(given).map(([key, value]) => [`nginx.ingress.kubernetes.io/${key}`, String(value)])),
      },
      spec: {
        ...(paths !== "" && { rules: [{ ...(host !== "*" && { host }), http: { paths: paths.trim().split(" ").map(pathOf) } }] }),
        ...(load(more) as object),
      },
    } as Ingress;
    this.#world.put(object);
    this.#translator.changed("Ingress", `shop/${name}`);
  }

  #flush(): void {
    const { patch, told } = this.#translator.flush();
    for (const { key, notes } of told) this.#told.set(key, notes.map(({ reason, message }) => `${reason}: ${message}`));
    for (const id of patch?.remove.routes ?? []) this.#table.remove(id);
    for (const route of patch?.put.routes ?? []) if (route.type === "http") this.#table.put(route);
  }

  /** "[N times] [METHOD] URL [header=value]… => …" */
  #request(text: string): void {
    this.#flush();
    const [request = "", expected = assert.fail("no =>")] = text.split(" => ");
    const [, times, method = "GET", url = "", fields = ""] = /^(?:(\d+) times )?(?:([A-Z]+) )?(https?:\S+)\s*(.*)$/.exec(request) ?? assert.fail("no request");
    const [, scheme, host = "", port, target = "/"] = /^(https?):\/\/([^/:]+)(?::(\d+))?(\/.*)?$/.exec(url) ?? assert.fail("no address");
    const { client, ...headers } = Object.fromEntries(words(fields).map((field) => [field.slice(0, field.indexOf("=")), field.slice(field.indexOf("=") + 1)]));
    const counts = new Map<string, number>();
    for (let i = 0; i < Number(times ?? 1); i++) {
      const view = requestView({ method, scheme: scheme as "http", host, target, headers, ...(port && { port: Number(port) }), ...(client && { client }) });
      const found = this.#table.find(`ingress/${scheme}`, view);
      if (!found.rule) {
        assert.equal("404", expected);
        return;
      }
      const handled = handle(found.rule.serve, view, found);
      this.#running.push(handled);
      if (times === undefined) return this.#expect(handled, found.rule.rule as never, expected);
      const where = handled.answer ? String(handled.answer.status) : this.#upstream(handled)!["service"] as string;
      counts.set(where, (counts.get(where) ?? 0) + 1);
    }
    assert.equal([...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([where, count]) => `${where} ${count}`).join(" "), expected);
  }

  #upstream(handled: Handled): Record<string, unknown> | undefined {
    return this.#translator.snapshot().upstreams.find(({ id }) => id === handled.exchange.upstream) as never;
  }

  #expect(handled: Handled, rule: Record<string, unknown>, expected: string): void {
    const { exchange, answer } = handled;
    const [outcome, ...claims] = words(expected);
    const upstream = this.#upstream(handled);
    assert.equal(answer ? String(answer.status) : upstream?.["service"], outcome, answer?.reason ?? "");
    const requestHeaders = edited({}, exchange.requestHeaders);
    const responseHeaders = edited({}, exchange.responseHeaders);
    const text = (value: unknown) => (value === undefined || typeof value === "string" ? value : JSON.stringify(value));
    const values = (name: string): string | undefined => {
      if (answer && !name.startsWith("response.")) return name === "body" ? answer.body.trim() : answer.headers.find(([other]) => other.toLowerCase() === name)?.[1];
      if (name.startsWith("request.")) return requestHeaders[name.slice(8)];
      if (name.startsWith("response.")) return responseHeaders[name.slice(9)];
      if (name.startsWith("upstream.")) return text(upstream?.[name.slice(9)]);
      if (name.startsWith("rule.")) return text(rule[name.slice(5)]);
      const known: Record<string, string | undefined> = { target: exchange.target ?? (exchange.request.query === "" ? exchange.request.path : `${exchange.request.path}?${exchange.request.query}`), host: exchange.host, body: exchange.bodyBytesMax?.toString() };
      if (!(name in known)) assert.fail(`nothing is called ${name}`);
      return known[name];
    };
    for (const claim of claims) {
      if (claim.startsWith("!")) assert.equal(values(claim.slice(1)), undefined, claim);
      else if (claim.startsWith("/")) assert.equal(values("target"), claim);
      else assert.equal(values(claim.slice(0, claim.indexOf("="))), claim.slice(claim.indexOf("=") + 1), claim);
    }
  }
}

/** Apart by blanks; '…' keeps them together. */
const words = (text: string): string[] => (text.match(/(?:[^\s']|'[^']*')+/g) ?? []).map((word) => word.replaceAll("'", ""));

function pathOf(text: string): { path: string; pathType: PathType; backend: object } {
  const [, mark, path = "", name = ""] = /^([=~]?)(.*)>(\w+)$/.exec(text)!;
  return { path, pathType: ({ "": "Prefix", "=": "Exact", "~": "ImplementationSpecific" } as const)[mark as ""], backend: { service: { name, port: { number: 80 } } } };
}
