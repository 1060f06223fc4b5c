import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { connect } from "node:tls";
import { resources } from "../../src/api/resources.ts";
import type { Deployment } from "../../src/api/types.ts";
import { type Gateway, gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import type { StartOptions } from "../../src/wherry.ts";
import { startWherry, type TestWherry } from "../harness.ts";

export async function until(what: string, holds: () => Promise<boolean> | boolean, withinMs: number): Promise<void> {
  for (const began = performance.now(); !(await (async () => holds())().catch(() => false)); ) {
    assert.ok(performance.now() - began < withinMs, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A rule that leads to this Service, and whose answers say which of them they are. */
export const rule = (service: string, value: string) => ({ filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: "x-change", value }] } }], backendRefs: [{ name: service, port: 80 }] });
export const route = (name: string, hostname: string, rules: unknown[]) => ({ metadata: { name }, spec: { parentRefs: [{ name: "edge" }], hostnames: [hostname], rules } });

/** A stack with the Gateway of `gateway/gateway.yaml`, everything behind it ready, and what a team does to it all day. */
export class GatewayStack {
  readonly wherry: TestWherry;
  readonly address: string;
  readonly #folder: string;

  private constructor(wherry: TestWherry, address: string, folder: string) {
    this.wherry = wherry;
    this.address = address;
    this.#folder = folder;
  }

  static async start(test: TestContext, options: StartOptions = {}): Promise<GatewayStack> {
    const wherry = await startWherry({ test, ...options });
    const folder = join(dirname(wherry.dataDir), "gateway");
    cpSync(join(import.meta.dirname, "gateway"), folder, { recursive: true });
    const { client } = wherry;
    await client.create(resources.secrets, "default", { metadata: { name: "shop" }, type: "kubernetes.io/tls", data: newCertificate(folder).data });
    await client.create(resources.configMaps, "default", { metadata: { name: "echo" }, data: { "echo.mjs": readFileSync(join(folder, "echo.mjs"), "utf8") } });
    const { stderr, code } = await wherry.kubectl("apply", "-f", join(folder, "gateway.yaml"), "-f", join(folder, "stack.yaml"));
    assert.equal(code, 0, stderr);
    await client.create(gatewayResources.httpRoutes, "default", route("shop", "shop.example.com", [rule("echo", "0")]));
    await client.create(gatewayResources.httpRoutes, "default", route("sockets", "sockets.example.com", [rule("echo-v2", "0")]));
    let address = "";
    await until("the Gateway is programmed", async () => {
      const { status } = await client.get<Gateway>(gatewayResources.gateways, "default", "edge");
      address = status?.addresses?.[0]?.value ?? "";
      return status?.listeners?.every(({ conditions }) => conditions.some(({ type, status }) => type === "Programmed" && status === "True")) ?? false;
    }, 30_000);
    const stack = new GatewayStack(wherry, address, folder);
    await until("the pods are ready", async () => (await stack.echo()).status?.readyReplicas === 2 && (await wherry.kubectl("get", "pod", "echo-v2", "-o", "jsonpath={.status.containerStatuses[0].ready}")).stdout === "true", 60_000);
    return stack;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.wherry[Symbol.asyncDispose]();
  }

  echo(): Promise<Deployment> {
    return this.wherry.client.get<Deployment>(resources.deployments, "default", "echo");
  }
  async reroute(name: string, rules: unknown[]): Promise<void> {
    await this.wherry.client.patch(gatewayResources.httpRoutes, "default", name, { spec: { rules } }, { type: "merge" });
  }
  async scale(replicas: number): Promise<void> {
    await this.wherry.client.patch(resources.deployments, "default", "echo", { spec: { replicas } });
    await until(`${replicas} replicas`, async () => {
      const { status } = await this.echo();
      return status?.readyReplicas === replicas && status.replicas === replicas;
    }, 60_000);
  }
  async roll(round: string): Promise<void> {
    await this.wherry.client.patch(resources.deployments, "default", "echo", { spec: { template: { metadata: { annotations: { round } } } } });
    await until("the roll-out", async () => {
      const { metadata, status, spec } = await this.echo();
      return status?.observedGeneration === metadata.generation && status?.updatedReplicas === spec!.replicas && status?.replicas === spec!.replicas && status?.readyReplicas === spec!.replicas;
    }, 60_000);
  }
  async renew(): Promise<void> {
    const { cert, data } = newCertificate(this.#folder);
    await this.wherry.client.patch(resources.secrets, "default", "shop", { data });
    await until("the renewed certificate is shown", async () => (await this.#shown()) === cert.trim(), 15_000);
  }

  /** The certificate that a new connection is shown, as PEM. */
  #shown(): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: this.address, port: 8443, servername: "shop.example.com", rejectUnauthorized: false }, () => {
        const { raw } = socket.getPeerCertificate();
        socket.destroy();
        resolve(`-----BEGIN CERTIFICATE-----\n${raw.toString("base64").replace(/(.{64})(?!$)/g, "$1\n")}\n-----END CERTIFICATE-----`);
      });
      socket.on("error", reject);
    });
  }
}

function newCertificate(folder: string): { cert: string; data: Record<string, string> } {
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=shop.example.com", "-keyout", "tls.key", "-out", "tls.crt"], { cwd: folder, stdio: "ignore" });
  const [cert, key] = ["tls.crt", "tls.key"].map((file) => readFileSync(join(folder, file)));
  return { cert: cert!.toString(), data: { "tls.crt": cert!.toString("base64"), "tls.key": key!.toString("base64") } };
}
