import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import { compileSchema } from "../../src/policy/schema/schema.ts";
import { entry } from "../../src/wherry.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { applyFolders, directUrl, examples } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const root = dirname(examples);
const shop = join(examples, "shop");

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: any;
}

/** The edge as a client beyond the machine sees it: by its host names. */
class Edge {
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  ask(method: string, url: string, more: { token?: string; body?: unknown } = {}): Promise<Answer> {
    const { host, pathname, search } = new URL(url);
    const body = more.body === undefined ? undefined : JSON.stringify(more.body);
    const headers = { host, ...(more.token && { authorization: `Bearer ${more.token}` }), ...(body && { "content-type": "application/json", "content-length": Buffer.byteLength(body) }) };
    return new Promise((resolve, reject) => {
      const asked = request({ host: this.#address, port: 8080, method, path: pathname + search, headers, agent: false, timeout: 20_000 }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("error", reject);
        answer.on("end", () => resolve({ status: answer.statusCode!, headers: answer.headers, body: /json/.test(answer.headers["content-type"] ?? "") ? JSON.parse(text) : text }));
      });
      asked.on("timeout", () => asked.destroy(new Error(`${method} ${url}: no answer`))).on("error", reject).end(body);
    });
  }
}

const prod = "http://api.shop.example.com:8080";
const kidOf = (token: string): string => (JSON.parse(Buffer.from(token.split(".")[0]!, "base64url").toString()) as { kid: string }).kid;

async function until<T>(what: string, ask: () => Promise<T>, holds: (value: T) => boolean, withinMs = 60_000): Promise<T> {
  for (const began = performance.now(); ; ) {
    const value = await ask();
    if (holds(value)) return value;
    assert.ok(performance.now() - began < withinMs, `${what}: not within ${withinMs} ms; last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("the shop through the gateway: its pages as printed, and what its edge keeps from whom", { timeout: 600_000 }, async (t) => {
  if (!process.env["WHERRY_CONFORMANCE"]) return t.skip("set WHERRY_CONFORMANCE=1; npm run conformance does");
  if (!needs(t, "kubectl", "curl", "psql")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  await applyFolders(wherry, [shop]);
  const program = join(dirname(wherry.dataDir), "bin", "wherry");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(program, 0o755);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  const play = (file: string) => runTranscript(file, { cwd: root, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, ...(process.env["STEPS"] && { onStep }) });

  await t.test("docs/how-to/protect-an-api.md", () => play(join(root, "docs", "how-to", "protect-an-api.md")));
  await t.test("the transcript", () => play(join(import.meta.dirname, "shop-edge.transcript")));
  const edge = new Edge((await wherry.kubectl("get", "gateway", "shop", "-n", "ecommerce", "-o", "jsonpath={.status.addresses[0].value}")).stdout);
  await t.test("the document is true: of what is asked, and of what is answered", () => documentIsTrue(wherry, edge));
  await t.test("keys change while requests run: none is refused", (t) => keysChange(wherry, edge, t.diagnostic.bind(t)));
  await t.test("docs/how-to/version-an-api.md", () => play(join(root, "docs", "how-to", "version-an-api.md")));
});

type Json = any;
const edgeFile = (name: string): Json => load(readFileSync(join(shop, "k8s", "edge", name), "utf8"));

/** References followed, descriptions left out. */
function plain(document: Json, value: Json): Json {
  if (Array.isArray(value)) return value.map((one) => plain(document, one));
  if (typeof value !== "object" || value === null) return value;
  const { $ref, ...rest } = value;
  const target = typeof $ref === "string" ? $ref.slice(2).split("/").reduce((at: Json, name) => at[name], document) : {};
  return Object.fromEntries(Object.entries({ ...target, ...rest }).filter(([name, one]) => name !== "description" || typeof one !== "string").map(([name, one]) => [name, plain(document, one)]));
}

/** What is not named must not be there. */
function closed(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([name, one]) => [name, closed(one)]));
  return inner["type"] === "object" && inner["properties"] && inner["additionalProperties"] === undefined ? { ...inner, additionalProperties: false } : inner;
}

async function account(wherry: TestWherry, edge: Edge, username: string): Promise<{ made: Answer; loggedIn: Answer; login: () => Promise<string> }> {
  const password = "correct horse";
  const made = await edge.ask("POST", `${prod}/users`, { body: { username, email: `${username}@example.com`, password } });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const loggedIn = await edge.ask("POST", `${prod}/users/login`, { body: { username, password } });
  // At the service itself: at the edge logins are counted. A connection each, or a replica that ends would keep ours.
  const login = async () => {
    const answer = await fetch(`${directUrl(wherry, "ecommerce", "user-service")}/login`, { method: "POST", headers: { "content-type": "application/json", connection: "close" }, body: JSON.stringify({ username, password }), signal: AbortSignal.timeout(20_000) });
    return ((await answer.json()) as { access_token: string }).access_token;
  };
  return { made, loggedIn, login };
}

/** Each operation is asked, its answer held to the document with nothing unnamed; and what is asked is what the service behind says of itself. */
async function documentIsTrue(wherry: TestWherry, edge: Edge): Promise<void> {
  const document = load(edgeFile("openapi.yaml").data["openapi.yaml"]) as Json;
  const own: Record<string, Json> = {};
  for (const collection of ["users", "products", "orders"]) own[collection] = await (await fetch(`${directUrl(wherry, "ecommerce", `${collection.slice(0, -1)}-service`)}/openapi.json`)).json();
  const { made, loggedIn, login } = await account(wherry, edge, "cleo");
  const token = await login();
  const { body: listed } = await edge.ask("GET", `${prod}/products?q=notebook&in_stock=true&limit=3`);
  const placed = await edge.ask("POST", `${prod}/orders`, { token, body: { items: [{ product_id: listed.products[0].id, quantity: 2 }] } });
  // 202 where user-service was too busy to say in time whether it is paid.
  assert.ok(placed.status === 201 || placed.status === 202, JSON.stringify(placed.body));
  const answers: Record<string, Answer[]> = {
    signUp: [made, await edge.ask("POST", `${prod}/users`, { body: { username: "cleo", email: "cleo@example.com", password: "correct horse" } })],
    logIn: [loggedIn, await edge.ask("POST", `${prod}/users/login`, { body: { username: "cleo", password: "wrong horse" } })],
    whoAmI: [await edge.ask("GET", `${prod}/users/me`, { token })],
    listProducts: [await edge.ask("GET", `${prod}/products?sort=-price&limit=500`), await edge.ask("GET", `${prod}/products?sort=colour`)],
    listCategories: [await edge.ask("GET", `${prod}/products/categories`)],
    getProduct: [await edge.ask("GET", `${prod}/products/KIT-1000-JU`), await edge.ask("GET", `${prod}/products/none`)],
    listOrders: [await edge.ask("GET", `${prod}/orders`, { token })],
    placeOrder: [placed, await edge.ask("POST", `${prod}/orders`, { token, body: { items: [{ sku: "NONE-1", quantity: 1 }] } }), await edge.ask("POST", `${prod}/orders`, { token, body: { items: [{ sku: "KIT-1000-JU", quantity: 1000 }] } })],
    getOrder: [await edge.ask("GET", `${prod}/orders/${placed.body.id}`, { token }), await edge.ask("GET", `${prod}/orders/none`, { token })],
  };
  const seen: string[] = [];
  for (const [path, item] of Object.entries<Json>(document.paths)) {
    for (const [method, given] of Object.entries<Json>(item)) {
      const operation = plain(document, given);
      const service = own[path.split("/")[1]!]!;
      const behind = plain(service, service.paths[path][method]);
      for (const parameter of operation.parameters ?? []) assert.ok(behind.parameters.some((one: Json) => one.in === parameter.in && one.name === parameter.name), `${operation.operationId}: ${parameter.name}`);
      for (const parameter of operation.parameters ?? []) assert.deepEqual(parameter.schema, behind.parameters.find((one: Json) => one.in === parameter.in && one.name === parameter.name).schema, `${operation.operationId}: ${parameter.name}`);
      const [body, wanted] = [operation, behind].map((one) => one.requestBody?.content["application/json"].schema);
      assert.deepEqual(body?.properties, wanted?.properties, operation.operationId);
      // The edge may ask for more than the service: guests are for the shop's own page.
      for (const name of wanted?.required ?? []) assert.ok(body.required.includes(name), `${operation.operationId}: ${name}`);
      for (const { status, headers, body } of answers[operation.operationId] ?? []) {
        const described = operation.responses[String(status)];
        assert.ok(described, `${operation.operationId} answers ${status} ${JSON.stringify(body)}`);
        seen.push(`${operation.operationId} ${status}`);
        const schema = described.content[String(headers["content-type"]).split(";")[0]!]?.schema;
        assert.ok(schema, `${operation.operationId} ${status}: ${headers["content-type"]}`);
        assert.deepEqual(compileSchema(status < 300 ? closed(schema) : schema).failures(body), [], `${operation.operationId} ${status}`);
      }
    }
  }
  assert.deepEqual(seen, ["signUp 201", "signUp 409", "logIn 200", "logIn 401", "whoAmI 200", "listProducts 200", "listProducts 400", "listCategories 200", "getProduct 200", "getProduct 404", "listOrders 200", `placeOrder ${placed.status}`, "placeOrder 422", "placeOrder 409", "getOrder 200", "getOrder 400"]);
}

/** With a new key that signs twenty seconds after it is shown: long before the keys that the edge has are old, so that it must ask for it, which it does once in ten. */
async function keysChange(wherry: TestWherry, edge: Edge, tell: (text: string) => void): Promise<void> {
  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await wherry.kubectl("-n", "ecommerce", ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  await kubectl("set", "env", "deployment/user-service", "TOKENS_PUBLISH=20s");
  await kubectl("rollout", "status", "deployment/user-service", "--timeout=120s");
  const { login } = await account(wherry, edge, "dora");
  const first = await login();
  const tokens = [first];
  const answered = new Map<string, number>();
  const refused: string[] = [];
  const over = new AbortController();
  const client = async (path: string): Promise<void> => {
    for (let i = 0; !over.signal.aborted; i++) {
      const token = tokens[i % tokens.length]!;
      const { status, body } = await edge.ask("GET", `${prod}${path}`, { token });
      answered.set(kidOf(token), (answered.get(kidOf(token)) ?? 0) + 1);
      if (status !== 200) refused.push(`${path} ${status} ${JSON.stringify(body)}`);
    }
  };
  const clients = Promise.all([client("/users/me"), client("/orders")]);
  try {
    const [, kid] = /^key (\S+) is shown/.exec(await kubectl("exec", "deployment/user-service", "--", "node", "rotate.ts"))!;
    await until("a token of the new key", login, (token) => {
      if (kidOf(token) !== kidOf(first) && !tokens.includes(token)) tokens.push(token);
      return kidOf(token) === kid;
    }, 120_000);
    await until("answers to both tokens", async () => tokens.map((token) => answered.get(kidOf(token)) ?? 0), (counts) => counts.length > 1 && counts.every((count) => count > 50));
  } finally {
    over.abort();
    await clients;
  }
  tell(`answered by key: ${[...answered.values()].join(", ")}`);
  assert.deepEqual(refused, []);
  const [head, body, signature] = first.split(".") as [string, string, string];
  const unknown = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(head, "base64url").toString()), kid: "nobody's" })).toString("base64url");
  assert.equal((await edge.ask("GET", `${prod}/users/me`, { token: `${unknown}.${body}.${signature}` })).status, 401);
}
