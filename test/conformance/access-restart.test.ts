import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import { startWherry } from "../harness.ts";

test("an API that cannot start again says why, and starts when the file is mended", { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-access-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "encryption.yaml");
  const write = (resource: string): void => writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources: [{ resources: [resource], providers: [{ secretbox: { keys: [{ name: "k", secret: Buffer.alloc(32, "k").toString("base64") }] } }] }] }));
  write("secrets");
  const said: string[] = [];
  const listeners = new Set<() => void>();
  const until = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => void (pattern.test(said.join("\n")) && (listeners.delete(look), resolve()));
      listeners.add(look);
      look();
    });
  await using wherry = await startWherry({ test: t, isolation: "plain", access: { encryption: file }, onProgress: (message) => (said.push(message), listeners.forEach((look) => look())) });
  await wherry.client.create(resources.secrets, "default", { metadata: { name: "s" }, data: { a: "aHVudGVyMg==" } });
  write("Secrets");
  process.kill(wherry.processes().api!, "SIGKILL");
  await until(/wherry-api cannot start again: .*encryption\.yaml is not a configuration that can be followed:\n.*resource name should not contain capital letters\n {2}Correct the file named above/s);
  write("secrets");
  // Connections wait meanwhile; one that was open is gone.
  const read = async (): Promise<unknown> => {
    for (;;) {
      try {
        return (await wherry.client.get<{ metadata: { name: string }; data: object }>(resources.secrets, "default", "s")).data;
      } catch (error) {
        if ((error as { code?: unknown }).code === 404) throw error;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  };
  assert.deepEqual(await read(), { a: "aHVudGVyMg==" });
});
