import assert from "node:assert/strict";
import { test } from "node:test";
import { startGateway, startProgram } from "./testing/gateway.ts";
import { queryWithoutSecrets, withoutSecrets } from "./secrets.ts";

const cases: [text: string, logged: string][] = [
  ["", ""],
  ["a=1&b=token", "a=1&b=token"],
  ["access_token=abc.def&x=1", "access_token=***&x=1"],
  ["x=1&API-KEY=k&apikey=k&api_key=k", "x=1&API-KEY=***&apikey=***&api_key=***"],
  ["x=1&key=k&x-api-key=k&monkey=m&keys=2", "x=1&key=***&x-api-key=***&monkey=m&keys=2"],
  ["x=1;password=p;y", "x=1;password=***;y"],
  ["X-Amz-Signature=0a&X-Amz-Expires=60", "X-Amz-Signature=***&X-Amz-Expires=60"],
  ["token=", "token="],
  ["mytoken=1&author=ann&design=x&sidebar=2", "mytoken=1&author=ann&design=x&sidebar=2"],
  ["redirected to https://a/b?token=t&x=1", "redirected to https://a/b?token=***&x=1"],
];
for (const [text, logged] of cases) test(`${text || "nothing"} is logged as ${logged || "nothing"}`, () => assert.equal(withoutSecrets(text), logged));

const named: [query: string, names: string[], logged: string][] = [
  ["k=abc;def&x=1", ["k"], "k=***&x=1"],
  ["K=1&kk=2&k=3", ["k"], "K=1&kk=2&k=***"],
  ["%6b=abc&x=%6b", ["k"], "%6b=***&x=%6b"],
  ["my+key=1&my%20key=2", ["my key"], "my+key=***&my%20key=***"],
  ["api%5Fkey=abc&x=1", [], "api%5Fkey=***&x=1"],
  ["token=a&k=b", ["k"], "token=***&k=***"],
  ["k", ["k"], "k"],
  ["%zz=1&k=b", ["k"], "%zz=1&k=***"],
];
for (const [query, names, logged] of named) test(`${query} is logged as ${logged} where ${names.join() || "nothing more"} lets in`, () => assert.equal(queryWithoutSecrets(query, names), logged));

test("a parameter that a rule lets in by is not in the log, nor where it met no rule", async () => {
  await using program = await startProgram((_request, response) => response.end("ok"));
  await using gateway = startGateway([program.port]);
  gateway.engine.hides(["k"]);
  gateway.routed.secrets = ["k"];
  const client = await gateway.open();
  client.send("GET /a?k=SECRET1&%6b=SECRET2&x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.answer();
  gateway.routed.answer = { status: 404, headers: [], body: "", flag: "NR", reason: "no route matches" };
  client.send("GET /b?k=SECRET3 HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.answer();
  gateway.engine.close();
  assert.deepEqual(gateway.lines.map(({ path }) => path), ["/a?k=***&%6b=***&x=1", "/b?k=***"]);
});

test("the log holds nothing that opens a door: no header, no body, no secret of a query", async () => {
  await using program = await startProgram((_request, response) => response.setHeader("Set-Cookie", "sid=SECRET6").end("SECRET7"));
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send("POST /a?access_token=SECRET1&x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer SECRET2\r\nCookie: a=SECRET3\r\nX-Api-Key: SECRET4\r\nContent-Length: 7\r\n\r\nSECRET5");
  await client.answer();
  gateway.routed.answer = { status: 302, headers: [["location", "/b?sig=SECRET8"]], body: "", flag: "DR", reason: "redirected to /b?sig=SECRET8" };
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.answer();
  client.send("GET / HTTP/1.1\r\nHost: SECRET9 @\r\nAuthorization: SECRET10\r\n\r\n");
  await client.end();
  gateway.engine.close();
  assert.doesNotMatch(JSON.stringify(gateway.lines), /SECRET/);
  assert.deepEqual(gateway.lines.map(({ path, reason }) => [path, reason]), [["/a?access_token=***&x=1", undefined], ["/", "redirected to /b?sig=***"], [undefined, "Host is not a host"]]);
});
