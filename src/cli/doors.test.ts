import assert from "node:assert/strict";
import { test } from "node:test";
import type { Door } from "../wherry.ts";
import { describeDoors } from "./doors.ts";

const door = (name: string, more: Partial<Door> = {}): Door => ({ name, scheme: "https", address: "127.0.0.1", port: 443, boundPort: 443, url: `https://${name}`, object: "Ingress/shop/web", ...more });

test("Ingresses and Gateways in `status`: where they really are, and what would have this machine know them", () => {
  const doors = [door("a.io"), door("b.io", { boundPort: undefined, code: "EADDRINUSE" }), door("*.c.io", { object: "Gateway/shop/edge", address: "127.99.0.1", isEmpty: true }), door("d.localhost")];
  assert.equal(
    describeDoors(doors, "127.0.0.1 a.io\n10.0.0.1 b.io\n", true),
    `ROUTE               URL                   AT
shop/ingress/web    https://a.io          127.0.0.1
shop/ingress/web    https://b.io          127.0.0.1, not served: port 443 could not be had (EADDRINUSE)
shop/gateway/edge   https://*.c.io        127.99.0.1, no route is attached
shop/ingress/web    https://d.localhost   127.0.0.1
  To have this machine find b.io: wherry hosts
  To have it trust the stack's certificates: wherry trust
`,
  );
  const many = ["e", "f", "g", "h", "i"].map((name) => door(`${name}.io`, { scheme: "http" }));
  assert.match(describeDoors(many, "", true), /\n {2}To have this machine find e\.io, f\.io, g\.io and 2 more: wherry hosts\n$/);
});
