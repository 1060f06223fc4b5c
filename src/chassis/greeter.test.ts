import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

test("the service of docs/how-to/write-a-service.md, as it stands there", { timeout: 60_000 }, async (t) => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/how-to/write-a-service.md"), "utf8");
  const program = /`greeter\.ts`, whole:\n```ts\n([^]*?)```/.exec(page)![1]!;
  assert.ok(program.split("\n").length <= 18, "a dozen lines and a few imports");
  const folder = mkdtempSync(join(tmpdir(), "wherry-greeter-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const named = (piece: string) => JSON.stringify(join(import.meta.dirname, piece));
  writeFileSync(join(folder, "greeter.mts"), program.replaceAll('"wherry/chassis/config"', named("config.ts")).replaceAll('"wherry/chassis"', named("index.ts")));

  const users = createServer((request, response) => void response.setHeader("content-type", "application/json").end(JSON.stringify(request.url === "/health/live" ? { status: "live" } : { name: "Anna", path: request.url })));
  users.listen(0, "127.0.0.1");
  await once(users, "listening");
  t.after(() => (users.closeAllConnections(), users.close()));
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(folder, "greeter.mts")], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], HOST: "127.0.0.1", PORT: "0", USERS_URL: `http://127.0.0.1:${(users.address() as AddressInfo).port}`, GREETING: "Good day" },
  });
  t.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const url = new Promise<string>((resolve) => {
    let address = "";
    createInterface(child.stdout!).on("line", (line) => {
      const { msg } = JSON.parse(line) as { msg: string };
      if (msg.startsWith("listening at ")) address = msg.slice("listening at ".length);
      if (msg === "ready") resolve(address);
    });
  });
  const base = await Promise.race([url, exited.then(() => assert.fail("it did not start"))]);
  assert.deepEqual(await (await fetch(`${base}/greet/7`)).json(), { message: "Good day Anna" });
  const bad = await fetch(`${base}/greet/x`);
  assert.deepEqual([bad.status, ((await bad.json()) as { detail: string }).detail], [400, "ids are numbers"]);
  for (const path of ["/health", "/health/live", "/health/ready", "/ready"]) assert.equal((await fetch(`${base}${path}`)).status, 200, path);
  assert.match(await (await fetch(`${base}/metrics`)).text(), /http_client_requests_total\{service="greeter",client="127\.0\.0\.1",method="GET",result="200"\} /);
  child.kill("SIGTERM");
  assert.deepEqual(await exited, [0, null]);
});
