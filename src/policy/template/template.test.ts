import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { handle, requestView } from "../testing/request.ts";
import { globalsOf } from "./globals.ts";
import { compileTemplate, TemplateError } from "./render.ts";

/** The cases of cases.txt: a new case is a new line. */
const request = requestView({ method: "POST", target: "/things/7?q=x", headers: { "x-one": "one" } });
const { exchange } = handle(() => {}, request);
function render(text: string, body: string): string {
  const { names } = globalsOf(exchange, exchange.request, body, new Map([["id", "7"]]), { name: "dev", variables: { v: "stage" } }, 0);
  return compileTemplate(text)({ names, charactersMax: 20_000 });
}
const lined = (text: string): string => text.replaceAll("\\n", "\n");

const blocks: { title: string; lines: { number: number; text: string }[] }[] = [];
for (const [i, text] of readFileSync(join(import.meta.dirname, "cases.txt"), "utf8").split("\n").entries()) {
  if (text.startsWith("== ")) blocks.push({ title: text.slice(3), lines: [] });
  else if (text !== "" && !text.startsWith("#")) blocks.at(-1)!.lines.push({ number: i + 1, text });
}
for (const { title, lines } of blocks) {
  test(`template: ${title}`, () => {
    let body = "";
    for (const { number, text } of lines) {
      const [, word, rest] = /^(\w+) (.*)$/.exec(text)!;
      if (word === "body") {
        body = rest!;
        continue;
      }
      const at = rest!.lastIndexOf(" => ");
      const [template, wanted] = [lined(rest!.slice(0, at)), rest!.slice(at + 4)];
      try {
        if (word === "is") assert.equal(render(template, body), lined(wanted.replaceAll("\\\\n", "\0")).replaceAll("\0", "\\n"));
        else if (word === "refused") assert.throws(() => compileTemplate(template), (error) => error instanceof TemplateError && (new RegExp(wanted).test(error.message) || assert.fail(error.message)));
        else if (word === "fails") {
          compileTemplate(template);
          assert.throws(() => render(template, body), (error) => error instanceof TemplateError && (new RegExp(wanted).test(error.message) || assert.fail(error.message)));
        } else assert.fail(`nothing is called ${word}`);
      } catch (error) {
        throw new Error(`cases.txt:${number}: ${text}\n${(error as Error).message}`, { cause: error });
      }
      assert.equal(({} as Record<string, unknown>)["polluted"], undefined, `cases.txt:${number}`);
    }
  });
}

test("templates that are nested beyond all measure are refused, and a long one is read once", () => {
  for (const text of ["#if(true)".repeat(200), "$a".concat("[$a".repeat(200)), `#set($x = ${"(".repeat(10_000)}`, `#set($x = ${"!".repeat(10_000)}`, `#set($x = ${"[".repeat(10_000)}`, `#set($x = ${"-".repeat(10_000)}`]) assert.throws(() => compileTemplate(text), (error) => error instanceof TemplateError && /nested in more than 64 levels/.test(error.message));
  const long = "$input.params('q')\n".repeat(15_000);
  assert.equal(render(long.slice(0, 19 * 100), "").length, 200);
  compileTemplate(long);
  assert.throws(() => compileTemplate("x".repeat(300_001)), /must not be longer/);
});
