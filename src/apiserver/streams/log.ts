import type { Kind } from "../../api/kind.ts";
import type { LogOptions, NodeAccess } from "../../api/node.ts";
import { invalid, type FieldError, forbidden } from "../../api/field.ts";
import { badRequestError, invalidError, serviceUnavailableError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";
import type { Log } from "../../base/log.ts";
import type { Api } from "../api.ts";
import type { Exchange } from "../http/exchange.ts";
import { isTrue, type RequestInfo, type ResourceInfo } from "../http/request-info.ts";
import { objectOf } from "../rest/keys.ts";
import { containerOf } from "./container.ts";

/** GET pods/NAME/log: plain text, live with `follow`. Source: k8s.io/kubernetes/pkg/registry/core/pod/rest/log.go. */
export async function servePodLog({ api, node }: { api: Api; node?: NodeAccess; log: Log }, exchange: Exchange, info: RequestInfo & { resource: ResourceInfo & { kind: Kind } }): Promise<void> {
  const { kind, namespace, name } = info.resource;
  const pod = objectOf(kind, api.get(kind, namespace, name!));
  const signal = exchange.closed();
  const options = { ...optionsOf(info.query, name!), container: containerOf(pod, info.query.get("container") ?? ""), signal };
  if (!(pod["spec"] as PodSpec).nodeName) {
    // Nothing has run yet, so there is nothing to read; upstream answers with an empty log as well.
    exchange.bytes(200, Buffer.alloc(0), "text/plain");
    return;
  }
  if (!node) throw serviceUnavailableError("the node agent is not there");
  const chunks = await node.logs({ namespace: namespace!, name: name!, uid: pod.metadata.uid }, options);
  const { response } = exchange;
  exchange.stream("text/plain");
  try {
    for await (const chunk of chunks) {
      if (response.destroyed) break;
      if (response.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        const go = () => {
          response.off("drain", go);
          response.off("close", go);
          resolve();
        };
        response.on("drain", go);
        response.on("close", go);
      });
    }
    response.end();
  } catch (error) {
    if (signal.aborted) return;
    response.destroy(error as Error);
  }
}

function optionsOf(query: URLSearchParams, name: string): Omit<LogOptions, "container" | "signal"> {
  const flag = (parameter: string) => isTrue(query.get(parameter));
  const number = (parameter: string): number | undefined => {
    const text = query.get(parameter);
    if (text === null || text === "") return undefined;
    if (!/^-?\d+$/.test(text)) throw badRequestError(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    return Number(text);
  };
  const [tailLines, sinceSeconds, limitBytes, sinceTime] = [number("tailLines"), number("sinceSeconds"), number("limitBytes"), query.get("sinceTime") || undefined];
  const errors: FieldError[] = [];
  if (tailLines !== undefined && tailLines < 0) errors.push(invalid("tailLines", tailLines, "must be greater than or equal to 0"));
  if (limitBytes !== undefined && limitBytes < 1) errors.push(invalid("limitBytes", limitBytes, "must be greater than 0"));
  if (sinceSeconds !== undefined && sinceTime !== undefined) errors.push(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
  else if (sinceSeconds !== undefined && sinceSeconds < 1) errors.push(invalid("sinceSeconds", sinceSeconds, "must be greater than 0"));
  if (sinceTime !== undefined && Number.isNaN(Date.parse(sinceTime))) throw badRequestError(`parsing time ${JSON.stringify(sinceTime)} as "2006-01-02T15:04:05Z07:00": cannot parse`);
  if (errors.length > 0) throw invalidError({ group: "", kind: "PodLogOptions" }, name, errors);
  return {
    follow: flag("follow"),
    previous: flag("previous"),
    timestamps: flag("timestamps"),
    ...(tailLines !== undefined && { tailLines }),
    ...(sinceSeconds !== undefined && { sinceSeconds }),
    ...(sinceTime !== undefined && { sinceTime }),
    ...(limitBytes !== undefined && { limitBytes }),
  };
}
