import assert from "node:assert/strict";
import { request } from "node:https";
import { test } from "node:test";
import { certificateFor } from "../http/testing/certificates.ts";
import { eventually, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

/** The server name of the handshake, the Host of the request, and what is answered. */
const asked: [serverName: string, host: string, status: number, why: string][] = [
  ["shop.example", "shop.example", 200, "the same"],
  ["shop.example", "SHOP.example.:8443", 200, "the same in another spelling"],
  ["shop.example", "admin.example", 421, "another listener's, with a certificate and rules of its own"],
  ["admin.example", "shop.example", 421, "and the other way round"],
  ["shop.example", "nobody.example", 404, "nobody's"],
  ["shop.example", "admin.example:8443", 421, "with a port"],
];
test("SNI against Host: a connection that was let in for one name does not reach another's listener", { timeout: 60_000 }, async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")));
  const [ip, address] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  const names = ["shop.example", "admin.example"];
  net.publishTraffic({
    revision: 1,
    put: {
      listeners: names.map((hostname) => {
        const { cert, key } = certificateFor([hostname]);
        return { id: hostname, address, port: 8443, protocol: "HTTPS", hostname, tls: { mode: "terminate", certificates: [{ certificate: cert, key }] } };
      }),
      upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1" }],
      routes: names.map((name) => ({ id: `HTTPRoute/default/${name}`, type: "http", createdAt: 0, attachments: [{ listener: name, hostnames: [""] }], rules: [{ name: "", matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [{ upstream: "default/web/80", weight: 1 }] }] })),
    },
    remove: {},
  });
  const ask = (servername: string, host: string) => new Promise<number>((resolve, reject) => request({ host: address, port: 8443, servername, rejectUnauthorized: false, agent: false, headers: { host } }, (response) => resolve(response.resume().statusCode!)).on("error", reject).end());
  await eventually(async () => (await ask("shop.example", "shop.example")) === 200, 20_000);
  for (const [serverName, host, status, why] of asked) assert.equal(await ask(serverName, host), status, `${serverName}, Host ${host}: ${why}`);
  await assert.rejects(ask("nobody.example", "shop.example"), /alert|ECONNRESET|socket/i, "a name that no listener has");
});
