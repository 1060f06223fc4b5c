import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Door } from "../../wherry.ts";
import { blockOf, parseHosts, withBlock } from "./block.ts";
import { namesOf } from "./names.ts";
import { replaceContent } from "./write.ts";

const block = "# BEGIN wherry /data\n127.0.0.1 a.io\n# END wherry /data\n";
const old = "# BEGIN wherry /data\n127.0.0.1 old.io\n# END wherry /data\n";

/** What the file holds before, with the block, and when it is taken out again. */
const files: [what: string, before: string, after: string, undone: string][] = [
  ["an empty file", "", block, ""],
  ["a file without our block", "127.0.0.1 localhost\n", `127.0.0.1 localhost\n${block}`, "127.0.0.1 localhost\n"],
  ["a last line without an end gets one", "127.0.0.1 localhost", `127.0.0.1 localhost\n${block}`, "127.0.0.1 localhost\n"],
  ["our block is exchanged where it stands", `1.1.1.1 x\n${old}2.2.2.2 y\n`, `1.1.1.1 x\n${block}2.2.2.2 y\n`, "1.1.1.1 x\n2.2.2.2 y\n"],
  ["another stack's block is foreign", `# BEGIN wherry /other\n127.0.0.1 b.io\n# END wherry /other\n`, `# BEGIN wherry /other\n127.0.0.1 b.io\n# END wherry /other\n${block}`, `# BEGIN wherry /other\n127.0.0.1 b.io\n# END wherry /other\n`],
  ["line ends and blanks of others stay", "127.0.0.1\tlocalhost \r\n\n", `127.0.0.1\tlocalhost \r\n\n${block}`, "127.0.0.1\tlocalhost \r\n\n"],
];
for (const [what, before, after, undone] of files) {
  test(`the block in the file: ${what}`, () => {
    const written = withBlock(parseHosts(before, "/data"), blockOf("/data", [{ address: "127.0.0.1", name: "a.io" }]));
    assert.equal(written, after);
    assert.equal(withBlock(parseHosts(written, "/data"), block), after, "a second time changes nothing");
    assert.equal(withBlock(parseHosts(written, "/data"), ""), undone);
  });
}

for (const text of ["# BEGIN wherry /data\n1.1.1.1 x\n", "# END wherry /data\n# BEGIN wherry /data\n", block + block]) {
  test(`a block whose end cannot be known is not touched: ${JSON.stringify(text)}`, () => assert.throws(() => parseHosts(text, "/data"), /^Error: line 1: .*mend the file by hand/));
}

const door = (name: string, more: Partial<Door> = {}): Door => ({ name, scheme: "https", address: "127.0.0.1", port: 443, boundPort: 443, url: `https://${name}`, object: "Ingress/shop/web", ...more });
const gateway = { address: "127.99.0.1", object: "Gateway/shop/edge" };

/** The file; the ways in; lines that are written, then names that are refused, then notes. */
const cases: [what: string, file: string, doors: Door[], lines: string[], refused: string[], notes: RegExp[]][] = [
  ["sorted, each once", "", [door("b.io"), door("a.io"), door("b.io", { scheme: "http", port: 80, boundPort: 80 })], ["127.0.0.1 a.io", "127.0.0.1 b.io"], [], []],
  ["a foreign line at another address", "# c\n10.0.0.1 x a.io # web\n", [door("a.io")], [], ["a.io: hosts:2 says 10.0.0.1, and Ingress/shop/web is at 127.0.0.1: change or remove that line"], []],
  ["a foreign line that agrees", "127.0.0.1 A.io\n", [door("a.io")], [], [], [/a\.io: hosts:1 says so already/]],
  ["a name in a comment is no name", "#10.0.0.1 a.io\n", [door("a.io")], ["127.0.0.1 a.io"], [], []],
  ["our own old lines are not in the way", "# BEGIN wherry /data\n10.0.0.1 a.io\n# END wherry /data\n", [door("a.io")], ["127.0.0.1 a.io"], [], []],
  ["another stack's are", "# BEGIN wherry /o\n127.0.0.9 a.io\n# END wherry /o\n", [door("a.io")], [], ["a.io: hosts:2 says 127.0.0.9, and Ingress/shop/web is at 127.0.0.1: change or remove that line"], []],
  ["wildcards", "", [door("*.a.io")], [], [], [/no wildcards.*"127\.0\.0\.1 any\.a\.io"/]],
  ["every name, raw connections, listeners that nobody uses", "", [door(""), door("t.io", { scheme: "tcp" }), door("e.io", { isEmpty: true })], [], [], []],
  ["localhost's names are known", "", [door("web.localhost"), door("web.localhost.io")], ["127.0.0.1 web.localhost.io"], [], []],
  ["of two the one at the usual port", "", [door("a.io", { boundPort: 10443 }), door("a.io", gateway)], ["127.99.0.1 a.io"], [], [/Ingress\/shop\/web at 127\.0\.0\.1 has it as well/]],
  ["what is nowhere comes last", "", [door("a.io", { boundPort: undefined }), door("a.io", { ...gateway, boundPort: 10443 })], ["127.99.0.1 a.io"], [], [/Ingress/]],
];
for (const [what, file, doors, lines, refused, notes] of cases) {
  test(`names that get a line: ${what}`, () => {
    const names = namesOf(doors, parseHosts(file, "/data"), "hosts");
    assert.deepEqual(names.lines.map(({ address, name }) => `${address} ${name}`), lines);
    assert.deepEqual(names.refused.map(({ name, why }) => `${name}: ${why}`), refused);
    assert.equal(names.notes.length, notes.length, names.notes.join("\n"));
    for (const [i, note] of notes.entries()) assert.match(names.notes[i]!, note);
  });
}

test("a file is replaced whole: mode and a link to it stay, nothing is left beside it, and a rival's change is not lost", () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-hosts-"));
  try {
    const [file, link] = [join(folder, "hosts"), join(folder, "link")];
    writeFileSync(file, "before");
    chmodSync(file, 0o640);
    symlinkSync(file, link);
    assert.equal(replaceContent(link, "before", "after, and longer"), "renamed");
    assert.equal(readFileSync(link, "utf8"), "after, and longer");
    assert.equal(statSync(file).mode & 0o7777, 0o640);
    assert.throws(() => replaceContent(file, "before", "x"), /changed by somebody else/);
    assert.equal(readFileSync(file, "utf8"), "after, and longer");
    assert.deepEqual(readdirSync(folder).sort(), ["hosts", "link"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
