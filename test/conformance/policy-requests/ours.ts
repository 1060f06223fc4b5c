import { keyOf } from "../../../src/api/informer.ts";
import type { KubeObject } from "../../../src/api/meta.ts";
import type { EdgeBinding } from "../../../src/api/network.ts";
import type { EdgeListener } from "../../../src/api/traffic.ts";
import { bindHandle, type TcpHandle } from "../../../src/base/handles.ts";
import { silentLog } from "../../../src/base/log.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { dial } from "../../../src/proxy/dial.ts";
import { Edge } from "../../../src/proxy/edge/edge.ts";
import { LoopbackAddresses } from "../../../src/proxy/gateway/addresses.ts";
import { Translator, type WantedStatus } from "../../../src/proxy/gateway/translate.ts";
import { ObjectWorld } from "../../../src/proxy/gateway/world.ts";
import { Engine } from "../../../src/proxy/http/engine.ts";
import { ServiceTable } from "../../../src/proxy/service-table.ts";
import { Connections } from "../../../src/proxy/tcp-service.ts";
import { port, snapshot } from "../../../src/proxy/testing/network.ts";

class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port: number }: EdgeListener): EdgeBinding {
    return { address, port: number, protocol: "TCP", boundPort: number };
  }
}

/** Our translator and our data plane with these objects. */
export interface Ours extends AsyncDisposable {
  /** By "NAMESPACE/NAME" of a Gateway. */
  portOf(gateway: string): number;
  /** What the access log says of the request before. */
  log(): string;
  /** Of policies and routes: conditions that are not True, by "KIND/NAMESPACE/NAME". */
  refused: string[];
}

/** `portOf`: of the program behind a Service of this name. */
export async function startOurs(objects: readonly KubeObject[], services: readonly { namespace: string; name: string }[], portOf: (name: string) => number): Promise<Ours> {
  const translator = new Translator(new ObjectWorld(objects), new FreeAddresses());
  for (const object of objects) translator.changed(object.kind, keyOf(object));
  const { statuses } = translator.flush();
  const traffic = translator.snapshot();
  const lines: string[] = [];
  const engine = new Engine({ accessLog: (text) => lines.push(...text.toString().trim().split("\n")) });
  const table = new ServiceTable(snapshot(1, ...services.map(({ namespace, name }) => ({ namespace, name, ports: [port(80, [{ ip: "127.0.0.1", port: portOf(name) }])] }))), systemRandom);
  const edge = new Edge({ table, dial, connections: new Connections(10, dial), random: systemRandom, log: silentLog, engine }, traffic);
  const handles: TcpHandle[] = [];
  const ports = new Map<string, number>();
  for (const { id, address, port: number } of traffic.listeners) {
    const bound = bindHandle("127.0.0.1", 0);
    const { handle } = bound;
    if (!handle) throw new Error(bound.code);
    handle.onconnection = (status, client) => void (status === 0 && edge.accept(client, address, number));
    handle.listen(128);
    handles.push(handle);
    ports.set(id.split("/").slice(-3, -1).join("/"), bound.port);
  }
  return {
    portOf: (gateway) => ports.get(gateway) ?? fail(`no listener of ${gateway} among ${[...ports.keys()].join(", ")}`),
    log: () => lines.at(-1) ?? "",
    refused: statuses.flatMap((status) => wrong(status)),
    async [Symbol.asyncDispose]() {
      edge.close();
      engine.close();
      for (const handle of handles) await new Promise<void>((resolve) => handle.close(resolve));
    },
  };
}

function wrong(status: WantedStatus): string[] {
  const conditions = "ancestors" in status ? status.ancestors.flatMap(({ conditions: told }) => told) : "parents" in status ? status.parents.flatMap(({ conditions: told }) => told) : [];
  return conditions.filter(({ type, status: is }) => is !== "True" && type !== "Overridden" && type !== "Merged").map(({ type, reason, message }) => `${status.kind}/${status.key}: ${type} ${reason}: ${message}`);
}
function fail(text: string): never {
  throw new Error(text);
}
