import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { debuggedProgram } from "./program.ts";

test("which programs get a debugger, and how", () => {
  const option = ["--inspect=127.0.0.1:9229", "--inspect-publish-uid=http"];
  const cases: [argv: string[], env: Record<string, string>, expected: string[] | "environment" | undefined][] = [
    [["node", "server.js"], {}, ["node", ...option, "server.js"]],
    [["/usr/local/bin/node", "--max-old-space-size=64", "main.ts"], {}, ["/usr/local/bin/node", ...option, "--max-old-space-size=64", "main.ts"]],
    [["/sbin/tini", "--", "node", "server.js"], {}, ["/sbin/tini", "--", "node", ...option, "server.js"]],
    [["npm", "start"], {}, "environment"],
    [["/bin/sh", "-c", "node migrate.js && exec node server.js"], {}, "environment"],
    [["npx", "tsx", "main.ts"], {}, "environment"],
    [["node", "--inspect=0.0.0.0", "server.js"], {}, undefined],
    [["node", "server.js"], { NODE_OPTIONS: "--inspect-brk" }, undefined],
    [["python", "node.py"], {}, undefined],
    [["/app/server", "--nodes=3"], {}, undefined],
    [["postgres"], {}, undefined],
  ];
  for (const [argv, env, expected] of cases) {
    const found = debuggedProgram(argv, env, "127.0.0.1", 9229);
    if (expected === "environment") {
      assert.deepEqual(found?.argv, argv);
      assert.match(found.env["NODE_OPTIONS"]!, /^--import=data:\S+ --inspect-publish-uid=http$/);
    } else assert.deepEqual(found?.argv, expected, argv.join(" "));
  }
});

test("what is put into the environment is understood by Node, and leaves the tools' own processes alone", () => {
  const { env } = debuggedProgram(["npm", "start"], { NODE_OPTIONS: "--no-warnings" }, "127.0.0.1", 0)!;
  const url = (file: string) => spawnSync(process.execPath, ["-e", 'console.log(require("node:inspector").url() !== undefined)', file], { env, encoding: "utf8" });
  assert.deepEqual(["/app/server.js", "/usr/lib/node_modules/npm/bin/npm-cli.js", "/app/node_modules/tsx/dist/cli.mjs"].map((file) => url(file).stdout.trim()), ["true", "false", "false"]);
});
