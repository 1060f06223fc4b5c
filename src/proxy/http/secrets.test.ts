import assert from "node:assert/strict";
import { test } from "node:test";
import { startGateway, startProgram } from "./testing/gateway.ts";
import { withoutSecrets } from "./secrets.ts";

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
