import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { startApi, type TestApi } from "../../../test/harness-api.ts";

/**
 * testdata/answers.txt: what the real server answers to rare requests. A line that begins with "==" starts a case, which has
 * a namespace of its own, written NS. A line is `METHOD[:patch type] path [body] => code answer`; the answer is a part of the
 * message, or JSON of which each field must be there as it is (null: must not be there), then ` WARN text` for each warning.
 */
interface Line {
  number: number;
  text: string;
}
const cases: { name: string; lines: Line[] }[] = [];
for (const [index, text] of readFileSync(join(import.meta.dirname, "testdata", "answers.txt"), "utf8").split("\n").entries()) {
  if (text.startsWith("==")) cases.push({ name: text.slice(2).trim(), lines: [] });
  else if (text.trim() !== "" && !text.startsWith("#")) cases.at(-1)!.lines.push({ number: index + 1, text });
}
const contentTypes: Readonly<Record<string, string>> = { json: "application/json-patch+json", merge: "application/merge-patch+json", strategic: "application/strategic-merge-patch+json", apply: "application/apply-patch+yaml" };

interface Answer {
  status: number;
  body: Record<string, unknown>;
  warnings: string[];
}

function ask({ url, pki }: TestApi, method: string, patchType: string | undefined, path: string, body: string | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(url + path, { method, ca: pki.ca, ...pki.admin, headers: { ...(body && { "content-type": patchType ? contentTypes[patchType]! : "application/json", "content-length": Buffer.byteLength(body) }) } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, body: JSON.parse(text) as Record<string, unknown>, warnings: [...String(response.headers["warning"] ?? "").matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)].map(([, words]) => words!.replaceAll(/\\(["\\])/g, "$1")) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

function requireFields(actual: unknown, wanted: unknown, at: string): void {
  if (wanted === null) return assert.equal(actual, undefined, at);
  if (typeof wanted !== "object" || Array.isArray(wanted)) return assert.deepEqual(actual, wanted, at);
  assert.ok(typeof actual === "object" && actual !== null, at);
  for (const [key, value] of Object.entries(wanted)) requireFields((actual as Record<string, unknown>)[key], value, `${at}.${key}`);
}

test("rare requests are answered as the real server does: testdata/answers.txt", async (t) => {
  await using api = await startApi();
  for (const [index, { name, lines }] of cases.entries()) {
    const namespace = `case-${index}`;
    await t.test(name, async () => {
      assert.equal((await ask(api, "POST", undefined, "/api/v1/namespaces", JSON.stringify({ metadata: { name: namespace } }))).status, 201);
      await ask(api, "POST", undefined, `/api/v1/namespaces/${namespace}/serviceaccounts`, JSON.stringify({ metadata: { name: "default" } }));
      for (const { number, text } of lines) {
        const [, method, patchType, path, sent, code, rest] = /^([A-Z]+)(?::(\w+))? (\S+)(?: (.*?))? => (\d+) ?(.*)$/.exec(text.replaceAll(/\bNS\b/g, namespace)) ?? [];
        assert.ok(method, `answers.txt:${number}`);
        const { status, body, warnings } = await ask(api, method, patchType, path!, sent);
        const [answer, ...warned] = ` ${rest!}`.split(" WARN ").map((part) => part.trim());
        assert.deepEqual([status, warnings], [Number(code), warned], `answers.txt:${number}: ${JSON.stringify(body).slice(0, 1000)}`);
        if (answer!.startsWith("{")) requireFields(body, JSON.parse(answer!), `answers.txt:${number}`);
        else if (answer !== "") assert.ok(String(body["message"]).includes(answer!), `answers.txt:${number}: ${String(body["message"])}`);
      }
    });
  }
});
