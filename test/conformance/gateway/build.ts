import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { find } from "../../needs.ts";

export const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "gateway-api");

/**
 * Images that the suite's manifests name, and the programs here that stand for them: built from the same published modules. Only
 * the mesh tests' echo server is ours, in `mesh/`: theirs is Istio's, which is no module that can be had by itself.
 */
const images: { image: string; program: string; source: string; target: string; more?: string }[] = [
  { image: "registry.k8s.io/gateway-api/echo-basic", program: "echo-basic", source: "suite", target: "sigs.k8s.io/gateway-api/conformance/echo-basic" },
  { image: "registry.k8s.io/coredns/coredns", program: "coredns", source: "coredns", target: "." },
  { image: "registry.k8s.io/gateway-api/echo-advanced", program: "echo-advanced", source: "mesh", target: ".", more: "COPY echo-advanced /echo/client\nENV PATH=/echo\n" },
];

/**
 * Gateway API's own suite and the programs of its pods, as ordinary Go modules, once, into `.cache/gateway-api`; beside them a
 * skaffold.yaml that links each image to its program. Throws with what is missing.
 */
export function build(): { suite: string; app: string } {
  const go = find("go");
  if (!go) throw new Error("the suite is a Go module: install Go 1.26 or newer");
  const suite = join(folder, "conformance.test");
  mkdirSync(folder, { recursive: true });
  if (!existsSync(suite)) compile(go, "suite", ["test", "-c", "-o", suite, "."]);
  for (const { program, source, target, more = "" } of images) {
    const context = join(folder, program);
    mkdirSync(context, { recursive: true });
    if (!existsSync(join(context, program))) compile(go, source, ["build", "-o", join(context, program), target]);
    writeFileSync(join(context, "Dockerfile"), `FROM scratch\nCOPY ${program} /${program}\n${more}USER 65532:65532\nENTRYPOINT ["/${program}"]\n`);
  }
  const artifacts = images.map(({ image, program }) => `    - image: ${image}\n      context: ${program}\n`).join("");
  writeFileSync(join(folder, "skaffold.yaml"), `apiVersion: skaffold/v4beta13\nkind: Config\nmetadata: { name: gateway-conformance }\nbuild:\n  artifacts:\n${artifacts}manifests:\n  rawYaml: []\n`);
  return { suite, app: folder };
}

function compile(go: string, source: string, args: string[]): void {
  const work = join(folder, `${source}.build`);
  rmSync(work, { recursive: true, force: true });
  cpSync(join(import.meta.dirname, source), work, { recursive: true });
  process.stdout.write(`go ${args.join(" ")} (minutes, once)\n`);
  for (const step of [["mod", "tidy"], args]) {
    const { status } = spawnSync(go, step, { cwd: work, env: { ...process.env, CGO_ENABLED: "0" }, stdio: ["ignore", "ignore", "inherit"] });
    if (status !== 0) throw new Error(`go ${step.join(" ")} failed in ${source}`);
  }
  rmSync(work, { recursive: true, force: true });
}
