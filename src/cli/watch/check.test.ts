import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { syntaxError } from "./check.ts";

test("what Node cannot read is told with file, line and mark; what it can, and what only others could judge, is not", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-check-"));
  const cases: [string, string, RegExp | undefined][] = [
    ["module.mjs", 'import fs from "node:fs";\nexport const a = await fs;\n', undefined],
    ["module.js", 'import fs from "node:fs";\nexport { fs };\n', undefined],
    ["common.cjs", "#!/usr/bin/env node\nconst fs = require('fs');\nreturn fs;\n", undefined],
    ["types.ts", "export const a: number = await 1;\n", undefined],
    ["dialect.ts", "import fs = require('node:fs');\nexport { fs };\n", undefined],
    ["package.json", '{ "type": "module" }', undefined],
    ["tsconfig.json", "{ // comments are fine here\n}", undefined],
    ["main.py", "def (:\n", undefined],
    ["twice.cjs", "const a = 1;\nconst a = 2;\n", /twice\.cjs:2\nconst a = 2;\n +\^\n\nSyntaxError: Identifier 'a' has already been declared$/],
    ["brace.mjs", "export function f( {\n", /brace\.mjs:\d[^]*SyntaxError: Unexpected/],
    ["again.ts", "import fs from 'node:fs';\nconst a: number = 1;\nconst a: string = '';\n", /again\.ts:3\n[^]*already been declared$/],
    ["bad.ts", "export const a: number = ;\n", /bad\.ts:1\n[^]*SyntaxError/],
  ];
  try {
    for (const [name, text, expected] of cases) {
      const file = join(folder, name);
      writeFileSync(file, text);
      const found = await syntaxError([file]);
      if (expected) assert.match(found ?? "", expected, name);
      else assert.equal(found, undefined, name);
      rmSync(file);
    }
    writeFileSync(join(folder, "package.json"), '{ "type": }');
    assert.match((await syntaxError([join(folder, "gone.js"), join(folder, "package.json")])) ?? "", /package\.json\nSyntaxError: /);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
