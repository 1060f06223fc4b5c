import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { ApiStage } from "../src/api/product/kinds.ts";
import { flags } from "../src/policy/flags.ts";
import { readDocument } from "../src/proxy/product/document.ts";
import { responseTypes } from "../src/proxy/product/gateway-responses.ts";
import { ignoredFields, integrationFields } from "../src/proxy/product/integration.ts";
import { compileOperations, descriptive } from "../src/proxy/product/operations.ts";

/** The tables of docs/reference/api-product.md, row by row, against documents that say such a field: what is served, and what is refused by that name. */
const page = readFileSync(join(dirname(import.meta.dirname), "docs/reference/api-product.md"), "utf8");
const part = (from: string, to: string): string => page.slice(page.indexOf(from), page.indexOf(to, page.indexOf(from)));
const words = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
const prefix = "x-amazon-apigateway-";
type Outcome = "honoured" | "describes" | "refused";

const extensions = [...part("## Extensions", "### Integrations").matchAll(/^\| (`.*?`) \| (.*?) \| (honoured|describes|refused)/gm)].flatMap(([, names, , outcome]) => words(names!).map((name) => ({ name, outcome: outcome as Outcome })));
const integrations = [...part("### Integrations", "### Gateway").matchAll(/^\| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|/gm)].map(([, field, ...cells]) => ({ field: field!, outcomes: Object.fromEntries(types().map((type, i) => [type, cells[i] as Outcome])) }));
function types(): (keyof typeof integrationFields)[] {
  return ["http_proxy", "http", "mock", "aws_proxy"];
}

/** As AWS documents them ("OpenAPI extensions for API Gateway"). */
const awsExtensions = ["any-method", "api-key-source", "auth", "authorizer", "authtype", "binary-media-types", "cors", "documentation", "endpoint-access-mode", "endpoint-configuration", "gateway-responses", "importexport-version", "integration", "integrations", "minimum-compression-size", "policy", "request-validator", "request-validators", "security-policy", "tag-value"];
const awsFields = ["cacheKeyParameters", "cacheNamespace", "connectionId", "connectionType", "contentHandling", "credentials", "httpMethod", "integrationSubtype", "integrationTarget", "passthroughBehavior", "payloadFormatVersion", "requestParameters", "requestTemplates", "responseParameters", "responseTransferMode", "responses", "timeoutInMillis", "tlsConfig", "uri"];

const stage: ApiStage = { name: "live", parentRefs: [{ name: "edge" }], backendRef: { name: "web", port: 80 }, cache: {}, backends: [{ uri: "arn:aws:f", backendRef: { name: "web", port: 80 } }, { uri: "http://inner.example.com", backendRef: { name: "web", port: 80 } }] };

/** Why the one operation of a document is not served; undefined: it is. */
function refusalOf(document: Record<string, unknown>): string | undefined {
  try {
    const [operation] = compileOperations(readDocument({ openapi: "3.0.1", info: { title: "T", version: "1" }, ...document }), { api: "it", id: "shop/it.live", stage, epoch: "1" } as never);
    return operation!.refusal;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What each type must have. */
const least: Record<string, Record<string, unknown>> = {
  http_proxy: { uri: "http://web/" },
  http: { uri: "http://web/", responses: { default: { statusCode: "200" } } },
  mock: { requestTemplates: { "application/json": '{"statusCode": 200}' }, responses: { default: { statusCode: "200" } } },
  aws_proxy: { uri: "arn:aws:f" },
};
const samples: Record<string, unknown> = {
  uri: "http://web/other",
  httpMethod: "GET",
  requestParameters: { "integration.request.header.x": "'1'" },
  responseParameters: { "200": { "append:header.x": "1" } },
  requestTemplates: { "application/json": '{"statusCode": 200}' },
  passthroughBehavior: "never",
  responses: { default: { statusCode: "200" } },
  timeoutInMillis: 100,
  cacheKeyParameters: ["method.request.querystring.q"],
  cacheNamespace: "n",
  payloadFormatVersion: "1.0",
  responseTransferMode: "BUFFERED",
  connectionType: "INTERNET",
  connectionId: "abc",
  integrationTarget: "arn:aws:elasticloadbalancing:x",
  credentials: "arn:aws:iam::1:role/r",
  contentHandling: "CONVERT_TO_TEXT",
  tlsConfig: { insecureSkipVerification: true },
  integrationSubtype: "SQS-SendMessage",
};
const withIntegration = (integration: object): Record<string, unknown> => ({ paths: { "/a": { get: { [`${prefix}integration`]: integration } } } });

test("the tables have every extension and field that AWS documents, once, and no other", () => {
  assert.deepEqual(extensions.map(({ name }) => name).sort(), awsExtensions);
  assert.deepEqual(integrations.map(({ field }) => field).sort(), awsFields);
  const known = [...new Set([...Object.values(integrationFields).flat(), ...ignoredFields])].filter((field) => field !== "type");
  assert.deepEqual(known.filter((field) => !awsFields.includes(field)), []);
  assert.deepEqual(Object.keys(samples).sort(), awsFields);
});

for (const type of types()) {
  test(`fields of ${type} are refused by name where the table says so, and only there`, () => {
    assert.equal(refusalOf(withIntegration({ type, ...least[type] })), undefined);
    for (const { field, outcomes } of integrations) {
      const value = type === "aws_proxy" && field === "uri" ? "arn:aws:f" : samples[field];
      const refusal = refusalOf(withIntegration({ type, ...least[type], [field]: value }));
      if (outcomes[type] === "refused") assert.match(refusal ?? `${field} is served`, new RegExp(`^GET /a: ${field} `), field);
      else assert.equal(refusal, undefined, field);
    }
  });
}

test("what a field of an integration is honoured for, changes what is served; what describes does not", () => {
  for (const type of types()) {
    const compiled = (integration: object): string => JSON.stringify(compileOperations(readDocument({ openapi: "3.0.1", info: { title: "T", version: "1" }, ...withIntegration(integration) }), { api: "it", id: "shop/it.live", stage, epoch: "1" } as never)[0]);
    const plain = compiled({ type, ...least[type] });
    for (const { field, outcomes } of integrations) {
      if (outcomes[type] !== "describes" && !["responseParameters", "timeoutInMillis", "cacheKeyParameters", "requestParameters"].includes(field)) continue;
      if (outcomes[type] === "refused" || field === "httpMethod" || (type === "mock" && field === "responses")) continue;
      const is = compiled({ type, ...least[type], [field]: samples[field] });
      if (outcomes[type] === "describes") assert.equal(is, plain, `${type} ${field}`);
      else assert.notEqual(is, plain, `${type} ${field}`);
    }
  }
});

test("extensions are refused by name where the table says so, and only there", () => {
  const integration = { type: "http_proxy", uri: "http://web/" };
  const root: Record<string, unknown> = {
    "api-key-source": "HEADER",
    "binary-media-types": ["image/png"],
    cors: { allowOrigins: ["*"] },
    documentation: { documentationParts: [] },
    "endpoint-access-mode": "STRICT",
    "endpoint-configuration": { disableExecuteApiEndpoint: true },
    "gateway-responses": { DEFAULT_4XX: { statusCode: 400 } },
    "importexport-version": "1.0",
    "minimum-compression-size": 10,
    policy: { Statement: [{ Effect: "Allow", Principal: "*", Action: "execute-api:Invoke", Resource: "execute-api:/*" }] },
    "request-validators": { all: { validateRequestBody: true } },
    "security-policy": "TLS_1_2",
    "tag-value": "x",
  };
  for (const { name, outcome } of extensions) {
    if (!Object.hasOwn(root, name)) continue;
    assert.notEqual(outcome, "refused");
    assert.equal(refusalOf({ ...withIntegration(integration), [prefix + name]: root[name] }), undefined, name);
  }
  const described = extensions.filter(({ outcome }) => outcome === "describes").map(({ name }) => prefix + name);
  // Those two are read from elsewhere: where they are referred to, and where keys are asked for.
  assert.deepEqual(described.filter((name) => !descriptive.has(name)), []);
  assert.deepEqual([...descriptive].filter((name) => !extensions.some((row) => prefix + row.name === name)), []);
  assert.match(refusalOf({ ...withIntegration(integration), [`${prefix}unheard-of`]: 1 })!, /^x-amazon-apigateway-unheard-of is not honoured/);
  assert.match(refusalOf({ paths: { "/a": { get: { [`${prefix}unheard-of`]: 1, [`${prefix}integration`]: integration } } } })!, /x-amazon-apigateway-unheard-of is not honoured/);
  assert.match(refusalOf({ paths: { "/a": { get: { [`${prefix}auth`]: { type: "AWS_IAM" }, [`${prefix}integration`]: integration } } } })!, /x-amazon-apigateway-auth.type/);
});

test("gateway responses: every type stands in the table with the flags that it is for", () => {
  const rows = [...part("### Gateway responses", "## Status").matchAll(/^\| (`[A-Z].*?) \| (.*) \|$/gm)].flatMap(([, names, text]) => words(names!).map((name) => ({ name, flags: words(text!) })));
  assert.deepEqual(rows.map(({ name }) => name).sort(), Object.keys(responseTypes).sort());
  for (const { name, flags: told } of rows) {
    assert.deepEqual([...new Set(told)].sort(), [...new Set(responseTypes[name]!.flatMap((meant) => meant.flags ?? []))].sort(), name);
    for (const flag of told) assert.ok(Object.hasOwn(flags, flag), flag);
  }
});
