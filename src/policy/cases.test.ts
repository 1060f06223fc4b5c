import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import type { Backend, HttpFilter, HttpMatch, HttpRoute, HttpRule, ValueMatch } from "../api/traffic.ts";
import { FakeClock } from "../base/clock.ts";
import { PolicyError } from "./policy-error.ts";
import { RouteTable } from "./route-table.ts";
import { edited, handle, type Handled, requestView, toolsAt } from "./testing/request.ts";

/**
 * The cases of cases/*.txt: what is configured, which requests come, and what becomes of them. A new case is a new line;
 * cases/README.md says how they are written.
 */
const folder = join(import.meta.dirname, "cases");

interface Step {
  line: number;
  text: string;
}
for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
  const blocks: { title: string; steps: Step[] }[] = [];
  for (const [i, text] of readFileSync(join(folder, file), "utf8").split("\n").entries()) {
    if (text.startsWith("== ")) blocks.push({ title: text.slice(3), steps: [] });
    else if (text.trim() !== "" && !text.startsWith("#")) blocks.at(-1)!.steps.push({ line: i + 1, text: text.trim() });
  }
  for (const { title, steps } of blocks) {
    test(`${file.slice(0, -4)}: ${title}`, () => {
      const world = new World();
      for (const { line, text } of steps) {
        try {
          world.step(text);
        } catch (error) {
          throw new Error(`cases/${file}:${line}: ${text}\n${(error as Error).message}`, { cause: error });
        }
      }
    });
  }
}

const tokenSecret = Buffer.alloc(32, "s");
function tokenOf(claims: object): string {
  const signed = [{ alg: "HS256" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createHmac("sha256", tokenSecret).update(signed).digest("base64url")}`;
}

class World {
  readonly #clock = new FakeClock();
  readonly #table = new RouteTable({ ...toolsAt(this.#clock), sessionKey: "0".repeat(32) });
  #routes = new Map<string, HttpRoute>();
  #rule: HttpRule | undefined;
  /** Where filters belong: the rule, or its last backend. */
  #owner: { filters?: HttpFilter[] } | undefined;
  #answerHeaders: Record<string, string> = {};
  #running: Handled[] = [];
  #last: Handled | undefined;

  /** By "$NAME". */
  readonly #values = new Map([["$jwks", JSON.stringify({ keys: [{ kty: "oct", k: tokenSecret.toString("base64url") }] })]]);

  step(line: string): void {
    const text = line.replaceAll(/\$[a-z]+/g, (name) => this.#values.get(name) ?? name);
    const [word, rest] = split(text);
    switch (word) {
      case "route":
        return this.#route(rest);
      case "rule":
        return this.#addRule(rest);
      case "backend":
        return this.#backend(rest);
      case "filter":
        (this.#owner!.filters ??= []).push(load(rest) as HttpFilter);
        return;
      case "set":
        Object.assign(this.#rule!, load(rest));
        return;
      case "refused": {
        const wanted = new RegExp(rest);
        return assert.throws(() => this.#put(), (error) => error instanceof PolicyError && wanted.test(error.message) || assert.fail(`${String(error)} is not ${rest}`));
      }
      case "token": {
        const [name, claims] = split(rest);
        return void this.#values.set(`$${name}`, tokenOf(load(claims) as object));
      }
      case "remove":
        this.#routes.delete(rest);
        return this.#table.remove(rest);
      case "answer":
        this.#answerHeaders = load(rest) as Record<string, string>;
        return;
      case "wait":
        return this.#clock.advance(Number(rest));
      case "end":
        return this.#running.splice(0).forEach((handled) => handled.end());
      case "then":
        return expect(this.#last!, rest, this.#answerHeaders);
      default:
        return this.#request(text);
    }
  }

  #route(text: string): void {
    const [id, rest] = split(text);
    const { hosts = [""], listeners = ["l"], created = 0, ...fields } = (rest === "" ? {} : load(rest)) as { hosts?: string[]; listeners?: string[]; created?: number };
    this.#routes.set(id, { id, type: "http", createdAt: created, attachments: listeners.map((listener) => ({ listener, hostnames: hosts })), rules: [], ...fields });
    this.#rule = undefined;
  }

  #addRule(text: string): void {
    const [name, rest] = split(text);
    if (this.#routes.size === 0) this.#route("r");
    this.#rule = { name, matches: rest.split(" | ").map(matchOf), filters: [], backends: [] };
    [...this.#routes.values()].at(-1)!.rules.push(this.#rule);
    this.#owner = this.#rule;
  }

  #backend(text: string): void {
    const [name, weight = "1"] = text.split(" ");
    const backend: Backend = /^\d+$/.test(name!) ? { error: { status: Number(name), reason: "wrong reference" }, weight: Number(weight) } : { upstream: name!, weight: Number(weight) };
    this.#rule!.backends.push(backend);
    this.#owner = backend as { filters?: HttpFilter[] };
  }

  #put(): void {
    for (const route of this.#routes.values()) {
      for (const rule of route.rules) if (rule.backends.length === 0 && !rule.filters.some(({ type }) => type === "redirect" || type === "respond")) rule.backends.push({ upstream: `to-${rule.name}`, weight: 1 });
      this.#table.put(route);
    }
    this.#routes.clear();
  }

  #request(text: string): void {
    this.#put();
    const [, times = "1", method, target, headerText, expected] = /^(?:(\d+)x )?(\S+) (\S+)(?: \[(.*?)\])? -> (.*)$/.exec(text) ?? assert.fail("not understood");
    const [, scheme = "http", host, port, path = "/"] = /^(?:(https?):\/\/)?([^/:*]*)(?::(\d+))?(\/.*|\*)?$/.exec(target!) ?? assert.fail(`no target: ${target}`);
    const all = Object.fromEntries((headerText ?? "").split("; ").filter(Boolean).map((header) => [header.slice(0, header.indexOf(":")), header.slice(header.indexOf(":") + 1).trim()]));
    const { client, listener = "l", body, ...headers } = all;
    const request = requestView({ method: method!, scheme: scheme as "http", host: host!, ...(port && { port: Number(port) }), target: path, headers, ...(client && { client }) });
    for (let i = 0; i < Number(times); i++) {
      const found = this.#table.find(listener, request);
      const explained = [...this.#table.explain(listener, request)].filter(({ chosen }) => chosen);
      if (!found.rule) {
        assert.equal(`none ${found.why}`, expected);
        assert.deepEqual(explained, []);
        continue;
      }
      assert.deepEqual(explained.map(({ match, rule, route }) => [match, rule, route]), [[found.match, found.rule.rule.name, found.rule.route.id]], "explain says the same");
      if (/^\w[-\w]*$/.test(expected!) && !/^(\d+|forward|held)$/.test(expected!)) {
        assert.equal(found.rule.rule.name, expected);
        continue;
      }
      this.#last = handle(found.rule.serve, request, { match: found.match, captures: found.captures, body });
      this.#running.push(this.#last);
      expect(this.#last, expected!, this.#answerHeaders);
    }
  }
}

const split = (text: string): [string, string] => {
  const space = text.indexOf(" ");
  return space < 0 ? [text, ""] : [text.slice(0, space), text.slice(space + 1)];
};

/** "/a" prefix, "=/a" exact, "~/a.*" regex, "~~^/a" partial regex, "i" in front: regardless of case. Then conditions. */
function matchOf(text: string): HttpMatch {
  const [first, ...conditions] = text.trim().split(/ +/);
  const ignoreCase = first!.startsWith("i");
  const path = ignoreCase ? first!.slice(1) : first!;
  const flags = ignoreCase ? { ignoreCase } : {};
  const match: HttpMatch = {
    path: path.startsWith("~~")
      ? { type: "regex", value: path.slice(2), partial: true, ...flags }
      : path.startsWith("~")
        ? { type: "regex", value: path.slice(1), ...flags }
        : path.startsWith("=")
          ? { type: "exact", value: path.slice(1), ...flags }
          : { type: "prefix", value: path, ...flags },
  };
  for (const condition of conditions) {
    const [, not, what, name, operator, value = ""] = /^(!?)(method|priority|header|query|cookie)(?::([^=~^]+))?([=~^]?)(.*)$/.exec(condition) ?? assert.fail(`no condition: ${condition}`);
    if (what === "method") match.method = value;
    else if (what === "priority") match.priority = Number(value);
    else {
      const type = ({ "=": "exact", "~": "regex", "^": "prefix", "": "present" } as const)[operator as "="];
      const wanted: ValueMatch = { name: name!, type, value, ...(not && { not: true }) };
      (match[({ header: "headers", query: "query", cookie: "cookies" } as const)[what as "header"]] ??= []).push(wanted);
    }
  }
  return match;
}

/** "forward target=/x host=h request.x=1 !response.y", "301 location=/x flag=DR", "held". */
function expect({ exchange, forwarded, answer, replaced }: Handled, text: string, answerHeaders: Record<string, string>): void {
  const [outcome, ...claims] = text.match(/(?:[^\s"]|"[^"]*")+/g)!.map((part) => part.replaceAll('"', ""));
  assert.equal(answer ? String(answer.status) : forwarded ? "forward" : "held", outcome, answer?.reason ?? "no answer");
  const known = ["x-old", "x-two", "authorization", "cookie"].map((name): [string, string | undefined] => [name, exchange.request.header(name)]);
  const requestHeaders = edited(Object.fromEntries(known.filter((pair): pair is [string, string] => pair[1] !== undefined)), exchange.requestHeaders);
  const responseHeaders = edited(answer ? Object.fromEntries(answer.headers) : answerHeaders, exchange.responseHeaders);
  const values = (name: string): string | undefined => {
    if (name === "notes") return exchange.notes?.join("; ");
    if (answer && name === "reason") return answer.reason;
    if (answer && !name.startsWith("response.")) return name === "flag" ? answer.flag : name === "body" ? answer.body : answer.headers.find(([other]) => other === name)?.[1];
    if (name.startsWith("request.")) return requestHeaders[name.slice(8)];
    if (name.startsWith("response.")) return responseHeaders[name.slice(9)];
    const { target, host, upstream, mirrors, bodyBytesMax } = exchange;
    const fields: Record<string, string | undefined> = { target, host, upstream, mirrors: mirrors?.join(","), body: bodyBytesMax?.toString(), sent: replaced, query: exchange.query };
    if (!(name in fields)) assert.fail(`nothing is called ${name}`);
    return fields[name];
  };
  for (const claim of claims) {
    const equals = claim.indexOf("=");
    if (claim.startsWith("!")) assert.equal(values(claim.slice(1)), undefined, claim);
    else assert.equal(values(claim.slice(0, equals)), claim.slice(equals + 1), claim);
  }
}
