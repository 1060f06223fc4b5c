import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { mismatch, parsePage, parseTranscript, runTranscript } from "./transcript.ts";

test("mismatch() compares word by word, with holes and skipped lines", () => {
  const output = "NAME     READY   STATUS    AGE\nweb-1    1/1     Running   3s\nweb-2    0/1     Pending   1s\n";
  const cases: [string, string[], boolean][] = [
    ["whole", ["NAME READY STATUS AGE", "web-1 1/1 Running <age>", "web-2 0/1 Pending <age>"], true],
    ["skipped lines", ["NAME <*>", "...", "web-2 0/1 Pending <age>"], true],
    ["a line too many", ["NAME <*>", "web-1 1/1 Running <age>"], false],
    ["another order", ["NAME <*>", "web-2 <*>", "web-1 <*>"], false],
    ["alternatives", ["...", "web-2 0/1 <Pending|Running> <age>"], true],
    ["a number within bounds", ["...", "web-<1..2> 1/1 Running <1..9>s", "web-<2..> 0/1 Pending <age>"], true],
    ["a number out of bounds", ["...", "web-2 0/1 Pending <2..9>s"], false],
    ["a number that is a word", ["...", "web-2 0/1 <0..9> <age>"], false],
    ["wrong word", ["...", "web-2 1/1 Pending <age>"], false],
  ];
  for (const [name, expected, matches] of cases) assert.equal(mismatch(expected, output) === undefined, matches, name);
});

test("parseTranscript() reads commands, deadlines, background names and exit codes", () => {
  const steps = parseTranscript("# why\n$ one  [within 5s]\nout\n\n$ two [background log]\n> log [within 2s]\nline\n$ three\n[exit 3]\n");
  assert.deepEqual(
    steps.map(({ command, withinMs, background, show, exitCode, expected }) => ({ command, withinMs, background, show, exitCode, expected })),
    [
      { command: "one", withinMs: 5000, background: undefined, show: undefined, exitCode: 0, expected: ["out"] },
      { command: "two", withinMs: undefined, background: "log", show: undefined, exitCode: 0, expected: [] },
      { command: "log", withinMs: 2000, background: undefined, show: "log", exitCode: 0, expected: ["line"] },
      { command: "three", withinMs: undefined, background: undefined, show: undefined, exitCode: 3, expected: [] },
    ],
  );
});

test("parseTranscript() takes a here-document for a part of its command, whatever it looks like", () => {
  const text = "$ cat <<'END'\n# no comment\n$ no command\nEND\nout\n$ cat <<EOF | sort  [within 5s]\nb\nEOF\n";
  assert.deepEqual(parseTranscript(text).map(({ command, expected, withinMs }) => [command, expected, withinMs]), [["cat <<'END'\n# no comment\n$ no command\nEND", ["out"], undefined], ["cat <<EOF | sort\nb\nEOF", [], 5000]]);
});

test("runTranscript() ends a command that takes too long, with all it started", { timeout: 20_000 }, async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), "wherry-transcript-"));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  const file = join(cwd, "transcript");
  // The shell is gone at once; who holds its output is not.
  for (const command of ["echo here; sleep 1000", "echo here; sleep 1000 & exit 0"]) {
    writeFileSync(file, `$ ${command}\nhere\n`);
    await assert.rejects(runTranscript(file, { cwd, env: { PATH: process.env["PATH"]! }, commandTimeoutMs: 500 }), /here\n[^]*ended: it took more than 500 ms/);
  }
});

test("a Markdown page is a transcript: its blocks fenced as console, in which what is kept is there for the next", { timeout: 20_000 }, async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), "wherry-transcript-"));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  const file = join(cwd, "page.md");
  const page = "# Title\n$ not this\n```sh\n$ nor this\n```\n```console\n$ NAME=$(echo web; )\n$ echo $NAME \\\n    again; exit 3\nweb again\n[exit 3]\n```\nText.\n```console within=5s\n$ test -e there || { touch there; exit 1; }\n$ ls\npage.md\nthere\n```\n";
  writeFileSync(file, page);
  const options = { cwd, env: { PATH: process.env["PATH"]! } };
  const steps: string[] = [];
  await runTranscript(file, { ...options, onStep: (command) => steps.push(command) });
  assert.deepEqual([steps.length, steps.at(-1)], [4, "ls"]);
  assert.deepEqual(parsePage(page).map(({ line, keeps, withinMs }) => [line, keeps, withinMs]), [[7, "NAME", undefined], [8, undefined, undefined], [15, undefined, 5000], [16, undefined, 5000]]);
  writeFileSync(file, "```console\n$ NAME=$(true)\n```\n");
  await assert.rejects(runTranscript(file, options), /page\.md:2: [^]*NAME is empty/);
  writeFileSync(file, "```console\n$ echo one\ntwo\n```\n");
  await assert.rejects(runTranscript(file, options), /page\.md:2: echo one\n {2}no line matches: two/);
});
