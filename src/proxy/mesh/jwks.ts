import type { Log } from "../../base/log.ts";
import type { ServiceTable } from "../service-table.ts";
import type { FetchKeys } from "../../policy/tokens/reader.ts";

/** As istiod does it. */
const refreshMs = 20 * 60_000;
const retryFirstMs = 500;
const retryMostMs = 60_000;
const answerMs = 5_000;
const answerBytesMax = 256 * 1024;

/** Gets key sets from Services: the data plane reaches their endpoints itself, whoever guards them. */
export function clusterKeys(table: ServiceTable, log: Log): FetchKeys {
  return (uri, then) => {
    let isStopped = false;
    let timer: NodeJS.Timeout | undefined;
    let waitMs = retryFirstMs;
    let isKnown = false;
    const again = (ms: number) => {
      if (!isStopped) timer = setTimeout(() => void ask(), ms).unref();
    };
    const ask = async () => {
      try {
        const text = await get(uri, table);
        if (isStopped) return;
        waitMs = retryFirstMs;
        isKnown = true;
        then(text);
        again(refreshMs);
      } catch (error) {
        if (isStopped) return;
        log.debug("a key set cannot be had: tokens of its issuer are refused until it can", { uri, error: (error as Error).message });
        // What was known once is good until something else is.
        if (!isKnown) then(undefined);
        again(waitMs);
        waitMs = Math.min(waitMs * 2, retryMostMs);
      }
    };
    void ask();
    return () => {
      isStopped = true;
      clearTimeout(timer);
    };
  };
}

async function get(uri: string, table: ServiceTable): Promise<string> {
  const { protocol, hostname, port, pathname, search, host } = new URL(uri);
  if (protocol !== "http:") throw new Error("only http:// within the cluster is asked");
  const [name, namespace, ...rest] = hostname.split(".");
  if (namespace === undefined || !["", "svc", "svc.cluster.local"].includes(rest.join("."))) throw new Error("no Service has this name");
  const number = port === "" ? 80 : Number(port);
  const endpoint = [...table.ports.values()].find(({ service, port: { port: own, protocol: spoken } }) => service.name === name && service.namespace === namespace && own === number && spoken === "TCP")?.active[0];
  if (!endpoint) throw new Error("the Service has no ready endpoint");
  const { request } = await import("node:http");
  return await new Promise<string>((resolve, reject) => {
    const asked = request({ host: endpoint.ip, port: endpoint.port, path: pathname + search, headers: { host, accept: "application/json" }, agent: false, signal: AbortSignal.timeout(answerMs) }, (answer) => {
      if (answer.statusCode !== 200) {
        answer.destroy();
        return reject(new Error(`answered ${answer.statusCode}`));
      }
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => {
        text += piece;
        if (text.length > answerBytesMax) answer.destroy(new Error("is too long"));
      });
      answer.on("end", () => resolve(text)).on("error", reject);
    });
    asked.on("error", reject).end();
  });
}
