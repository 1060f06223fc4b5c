import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client } from "../api/client.ts";
import type { KubeObject } from "../api/meta.ts";
import { FakeClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { type Note, Notes } from "./compiling.ts";

/** Events that were written, by their messages. */
function world() {
  const clock = new FakeClock();
  const told: string[] = [];
  const client = { create: async (_: unknown, __: string, event: { message: string }) => (told.push(event.message), event), patch: async (_: unknown, __: string, ___: string, { count }: { count: number }) => void told.push(`${count} times`) } as unknown as Client;
  const notes = new Notes("gateway-controller", { client, clock, log: silentLog });
  const object = (name: string): KubeObject => ({ apiVersion: "wherry.dev/v1alpha1", kind: "API", metadata: { name, namespace: "shop", uid: name, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" } });
  return {
    told,
    tell: (name: string, ...messages: string[]) => notes.tell(object(name), messages.map((message): Note => ({ type: "Warning", reason: "NotHonoured", message }))),
    notes,
    pass: async (ms: number) => {
      clock.advance(ms);
      for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    },
  };
}

test("what is true for a moment alone, while what is named is still to come, nobody is told", async () => {
  const { tell, pass, told } = world();
  tell("pets", "Secret keys does not exist", "Service pets does not exist");
  await pass(900);
  tell("pets", "Service pets does not exist");
  await pass(90);
  tell("pets");
  await pass(60_000);
  assert.deepEqual(told, []);
});

test("each is told a second after it began, however often others come and go; and again when it was gone meanwhile", async () => {
  const { tell, pass, told } = world();
  tell("pets", "one");
  await pass(600);
  tell("pets", "one", "two");
  await pass(399);
  assert.deepEqual(told, []);
  await pass(1);
  assert.deepEqual(told, ["one"]);
  tell("pets", "two", "one");
  await pass(599);
  assert.deepEqual(told, ["one"]);
  await pass(1);
  assert.deepEqual(told, ["one", "two"]);
  tell("pets", "two");
  await pass(5_000);
  tell("pets", "one", "two");
  await pass(1_000);
  assert.deepEqual(told, ["one", "two", "2 times"]);
});

test("of one that is gone nobody hears, and of others all", async () => {
  const { tell, notes, pass, told } = world();
  tell("gone", "its");
  tell("pets", "mine");
  notes.forget("gone");
  await pass(1_000);
  assert.deepEqual(told, ["mine"]);
  tell("pets", "last");
  notes.stop();
  await pass(1_000);
  assert.deepEqual(told, ["mine"]);
});
