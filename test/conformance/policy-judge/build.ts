import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { find } from "../../needs.ts";

/**
 * Envoy Gateway's own translator: its `egctl`, built once as an ordinary Go module into `.cache/policy-judge`, in a quarter of an hour of two
 * cores. Undefined where it is not there and cannot be built (no Go, no module proxy).
 */
export function egctl(): string | undefined {
  const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "policy-judge");
  const file = join(folder, "egctl");
  if (existsSync(file)) return file;
  const go = find("go");
  if (!go) return undefined;
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(import.meta.dirname, "go.mod"), join(folder, "go.mod"));
  const { status } = spawnSync(go, ["build", "-p", "2", "-ldflags", "-s -w", "-o", file, "github.com/envoyproxy/gateway/cmd/egctl"], { cwd: folder, env: { ...process.env, GOFLAGS: "-mod=mod" }, stdio: ["ignore", "ignore", "inherit"] });
  return status === 0 && existsSync(file) ? file : undefined;
}
