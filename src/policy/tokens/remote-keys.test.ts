import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import type { SideAnswer } from "../exchange.ts";
import { RemoteKeys } from "./remote-keys.ts";

const issuer = "https://login.example.com/realm";
const place = "/realm/.well-known/openid-configuration";

/** What an issuer's document leads to: the paths that were asked for, and why there are no keys. */
function asked(document: unknown, keys: Partial<SideAnswer> | undefined = { body: Buffer.from("keys") }): { targets: string[]; failure: string; taken: string[] } {
  const [targets, taken]: string[][] = [[], []];
  const clock = new FakeClock();
  const remote = new RemoteKeys(
    { upstream: "login", host: "login.example.com", target: place, issuer },
    {
      nowMs: () => clock.monotonicMs(),
      call: ({ target, host, upstream }, then) => {
        assert.deepEqual([host, upstream], ["login.example.com", "login"]);
        targets!.push(target);
        const answer = target === place ? { body: Buffer.from(typeof document === "string" ? document : JSON.stringify(document)) } : keys;
        if (answer) then({ status: 200, headers: [], body: Buffer.alloc(0), ...answer }, "");
        else then(undefined, "no answer");
        return { cancel: () => {} };
      },
    },
    (text) => (text === "keys" ? taken!.push(text) > 0 : false),
    () => {},
  );
  remote.ready(() => {});
  return { targets: targets!, failure: remote.failure, taken: taken! };
}

test("an issuer's own document says where its keys are, and nobody is sent elsewhere by it", () => {
  assert.deepEqual(asked({ issuer, jwks_uri: "https://login.example.com/keys?v=1" }), { targets: [place, "/keys?v=1"], failure: "", taken: ["keys"] });
  const table: [document: unknown, failure: string][] = [
    ["", "its document is no JSON"],
    ["null", "its document is another issuer's"],
    [[], "its document is another issuer's"],
    [{ issuer: `${issuer}/`, jwks_uri: "https://login.example.com/keys" }, "its document is another issuer's"],
    [{ issuer }, "its document has no jwks_uri"],
    [{ issuer, jwks_uri: ["https://login.example.com/keys"] }, "its document has no jwks_uri"],
    [{ issuer, jwks_uri: "file:///etc/passwd" }, "its document has no jwks_uri"],
    [{ issuer, jwks_uri: "http://169.254.169.254/keys" }, "its keys are at 169.254.169.254, which nobody has named: jwksUri does"],
    [{ issuer, jwks_uri: "https://login.example.com:8443/keys" }, "its keys are at login.example.com:8443, which nobody has named: jwksUri does"],
    [{ issuer, jwks_uri: "https://login.example.com@evil.example/keys" }, "its keys are at evil.example, which nobody has named: jwksUri does"],
  ];
  for (const [document, failure] of table) assert.deepEqual(asked(document), { targets: [place], failure, taken: [] });
  const good = { issuer, jwks_uri: "https://login.example.com/keys" };
  assert.deepEqual(asked(good, { status: 302, headers: [["location", "https://evil.example/"]] }), { targets: [place, "/keys"], failure: "answered 302", taken: [] });
  assert.deepEqual(asked(good, { body: Buffer.from("none") }), { targets: [place, "/keys"], failure: "is no key set", taken: [] });
});
