// Builds the real kube-apiserver, kubectl and etcd into .cache/oracle, as ordinary Go modules, for `npm run conformance` and
// `bench/api.ts`. They are peers to compare with, never a part of Wherry. Takes minutes; needs Go and the network once.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const kubernetes = { version: "1.35.0", major: "1", minor: "35" };
const etcd = "v3.6.4";
// k8s.io/kubernetes names these at v0.0.0 and replaces them by folders of its own repository; elsewhere by their tags.
const staging = "api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin sample-controller".split(" ");

const root = dirname(import.meta.dirname);
const target = join(root, ".cache", "oracle");
mkdirSync(target, { recursive: true });
const go = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/go/bin"].map((folder) => join(folder, "go")).find((file) => existsSync(file));
if (!go) {
  process.stderr.write("Go is not on this machine: install Go 1.26 or newer, then run this again\n");
  process.exit(1);
}

const published = {
  replace: staging.map((name) => `k8s.io/${name} => k8s.io/${name} v0.${kubernetes.minor}.${kubernetes.version.split(".")[2]}`),
  // Without them /version says v0.0.0-master, and clients complain.
  variables: { "k8s.io/component-base/version.gitVersion": `v${kubernetes.version}`, "k8s.io/component-base/version.gitMajor": kubernetes.major, "k8s.io/component-base/version.gitMinor": kubernetes.minor },
};
// The kubectl of the same release: its own scripts are run with it and its plugin.
for (const program of ["kube-apiserver", "kubectl", "kubectl-convert"]) build(program, "k8s.io/kubernetes", `v${kubernetes.version}`, `k8s.io/kubernetes/cmd/${program}`, published);
build("etcd", "go.etcd.io/etcd/server/v3", etcd, "go.etcd.io/etcd/server/v3", {});

function build(name, module, version, program, { replace = [], variables = {} }) {
  const file = join(target, name);
  if (existsSync(file)) return process.stdout.write(`${file} is there\n`);
  const folder = mkdtempSync(join(tmpdir(), "wherry-oracle-"));
  try {
    writeFileSync(join(folder, "go.mod"), ["module oracle", "go 1.26", `require ${module} ${version}`, ...replace.map((line) => `replace ${line}`), ""].join("\n"));
    process.stdout.write(`building ${name} ${version}: minutes on two cores …\n`);
    const flags = Object.entries(variables).map(([variable, value]) => `-X ${variable}=${value}`).join(" ");
    for (const args of [["get", `${program}@${version}`], ["build", "-ldflags", flags, "-o", file, program]]) {
      const { status } = spawnSync(go, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
      if (status !== 0) process.exit(status ?? 1);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
