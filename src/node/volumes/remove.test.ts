import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { removeTree } from "./remove.ts";

test("removeTree() removes closed folders, and links but not what they point to", () => {
  const dir = mkdtempSync(join(tmpdir(), "wherry-remove-"));
  try {
    const pod = join(dir, "pod");
    mkdirSync(join(pod, "closed", "deep"), { recursive: true });
    writeFileSync(join(pod, "closed", "deep", "file"), "");
    mkdirSync(join(dir, "outside"), { mode: 0o755 });
    writeFileSync(join(dir, "outside", "file"), "");
    symlinkSync(join(dir, "outside"), join(pod, "link"));
    chmodSync(join(pod, "closed", "deep"), 0);
    chmodSync(join(pod, "closed"), 0o500);
    removeTree(pod);
    assert.ok(!existsSync(pod));
    assert.ok(existsSync(join(dir, "outside", "file")));
    removeTree(pod);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
