import { isDeepStrictEqual } from "node:util";
import type { Answer, Difference } from "./compare.ts";
import type { Request } from "./generate.ts";

/** A difference that stays, with its reason. The list is short, and each line is a promise to a reader of the score. */
export interface Known {
  reason: string;
  is(request: Request, difference: Difference, ours: Answer, theirs: Answer): boolean;
}

const isText = (difference: Difference): difference is Difference & { ours: string; theirs: string } => typeof difference.ours === "string" && typeof difference.theirs === "string";
const bodyText = ({ body }: Request): string => JSON.stringify(body ?? "");
const pieces = (message: string): string[] => message.replace(/^.*? is invalid: /s, "").replace(/^\[|\]$/g, "").split(/, (?=[\w.[\]<]+: )/);
/** A mistake of a key of a map: labels, requests, data. */
const ofMap = /^[\w.[\]]*\b(labels|annotations|matchLabels|nodeSelector|limits|requests|data|binaryData|capacity|allocatable|overhead|podFixed|parameters|hard|used|max|min|default|defaultRequest|maxLimitRequestRatio|selector)\b/;
const messageOf = ({ body }: Answer): string => String((body as { message?: unknown } | null)?.message ?? "");

const told = ({ body }: Answer): string[] => (Array.isArray(body) ? (body as { type: string; object: { metadata?: { name: string }; rows?: { object?: { metadata: { name: string } } }[] } }[]) : []).map(({ type, object }) => `${type} ${object.metadata?.name ?? object.rows?.[0]?.object?.metadata.name ?? ""}`);
const withoutMarks = (events: string[]): string[] => events.filter((event, index) => !(event.startsWith("MODIFIED ") && events[index + 1] === event.replace("MODIFIED", "DELETED")));
const isCustom = ({ path }: Request): boolean => path.startsWith("/apis/test.example.com/");
const swapped = (message: string): string => message.replaceAll(/(clientConfig\.service\.)(namespace|name)(: Required value)/g, (_, before: string, field: string, after: string) => `${before}${field === "name" ? "namespace" : "name"}${after}`);

export const known: readonly Known[] = [
  { reason: "what upstream answers with an internal error, such as a resourceVersion that is no number, is the client's mistake here", is: (_, __, ours, theirs) => theirs.status === 500 && ours.status >= 400 && ours.status < 500 },
  { reason: "a number in an applied custom resource is another one to upstream before it is stored than after, and raises the generation", is: (request, { at }) => isCustom(request) && request.contentType === "application/apply-patch+yaml" && at === "metadata.generation" },
  { reason: "upstream cannot convert the Scale of a custom resource that was written in another version, and fails", is: (request, _, ours, theirs) => isCustom(request) && /\/scale\b/.test(request.path) && ours.status < 300 && theirs.status === 500 && /request to convert CR to an invalid group\/version/.test(messageOf(theirs)) },
  { reason: "upstream confuses name and namespace of a webhook's Service where one is missing", is: ({ path }, _, ours, theirs) => path.includes("webhookconfigurations") && ours.status === 422 && theirs.status === 422 && /clientConfig\.service\.name(space)?: Required value/.test(messageOf(ours)) && swapped(messageOf(theirs)) === messageOf(ours) },
  { reason: "a pod that goes at once is told as deleted; upstream tells first that it was marked", is: ({ path, until }, { at }, ours, theirs) => until !== undefined && path.includes("/pods?") && at === "" && isDeepStrictEqual(told(ours), withoutMarks(told(theirs))) },
  { reason: "upstream takes a finalizer away in a write of its own, and then misses the resourceVersion that the deletion demands", is: ({ method }, _, ours, theirs) => method === "DELETE" && ours.status === 200 && theirs.status === 409 && /ResourceVersion in precondition: , ResourceVersion in object meta/.test(messageOf(theirs)) },
  { reason: "upstream writes a PersistentVolumeClaim once when nothing of it changes, and tells who watches", is: ({ path, until }, { at }, ours, theirs) => until !== undefined && path.includes("/persistentvolumeclaims?") && at === "" && isDeepStrictEqual(told(ours).filter((event) => !event.startsWith("MODIFIED")), told(theirs).filter((event) => !event.startsWith("MODIFIED"))) },
  { reason: "a Service without a name fails upstream when it is given an address, before its name is looked at", is: ({ path, method }, _, __, theirs) => method === "POST" && path.includes("/services") && /failed to allocate IP: IPAddress\S+ "\S+" is invalid: spec\.parentRef\.name: Required value/.test(messageOf(theirs)) },
  { reason: "a write to the status of a Service that is not there makes none; upstream makes one, without an address", is: ({ path }, _, ours, theirs) => /\/services\/[^/]+\/status/.test(path) && ours.status === 404 && theirs.status === 201 },
  { reason: "upstream cannot merge what has no schema: a strategic patch of a ControllerRevision's data is an internal error, and any such patch puts the data's keys in order and takes that for a change", is: ({ path, contentType }, _, ours, theirs) => path.includes("/controllerrevisions/") && contentType === "application/strategic-merge-patch+json" && (theirs.status === 500 || (ours.status === 200 && theirs.status === 422 && /is invalid: data: Invalid value: .*: field is immutable$/.test(messageOf(theirs)))) },
  { reason: "restart policies of single containers are refused, because nothing acts on them", is: (_, __, ours) => /restartPolicy: (Forbidden: may not be set for non-init containers|Unsupported value: "(Never|OnFailure)": supported values: "Always"[,\]]?)/.test(messageOf(ours)) },
  { reason: "what would put a pod outside its walls is refused", is: (_, __, ours, theirs) => ours.status === 422 && (theirs.status < 300 || theirs.status === 409) && pieces(messageOf(ours)).every((piece) => /: Forbidden: .*; remove the field$/.test(piece)) },
  { reason: "upstream walks the fields of what is applied in no order", is: (_, { at }, ours, theirs) => at === "message" && messageOf(ours).startsWith("failed to create typed patch object") && isDeepStrictEqual(messageOf(ours).split("\n").sort(), messageOf(theirs).split("\n").sort()) },
  { reason: "a number beyond 32 bits is refused; what upstream makes of one in an applied or strategic patch wraps around", is: ({ contentType }, _, ours) => /^application\/(apply-patch\+yaml|strategic-merge-patch\+json)$/.test(contentType ?? "") && /cannot unmarshal number -?\d{10,} into Go struct field \S+ of type int32/.test(messageOf(ours)) },
  { reason: "a custom resource may leave out its kind and version, which the URL says", is: (request, _, ours, theirs) => isCustom(request) && theirs.status === 400 && /Object '(Kind|apiVersion)' is missing in/.test(messageOf(theirs)) && ours.status !== 500 },
  { reason: "a policy is type-checked with the write itself; upstream's controller does so later and is not part of its API server", is: ({ path }, { at }, _, theirs) => path.includes("/validatingadmissionpolicies") && /^(items\[\d+\]\.)?status\.(observedGeneration|typeChecking)/.test(at) && theirs.status < 300 },
  { reason: "kinds that are stored and not acted on carry a warning of ours", is: (_, { at, ours, theirs }) => at === "warnings" && (ours as string[]).filter((text) => !text.startsWith("Wherry stores this")).length === (theirs as string[]).length && (theirs as string[]).every((text) => (ours as string[]).includes(text)) },
  { reason: "where upstream walks a map, as all of a custom resource is, mistakes are told in no order", is: (request, difference, ours, theirs) => difference.at === "message" && ours.status === 422 && theirs.status === 422 && isText(difference) && isDeepStrictEqual(pieces(difference.ours).sort(), pieces(difference.theirs).sort()) && (isCustom(request) || isDeepStrictEqual(pieces(difference.ours).filter((piece) => !ofMap.test(piece)), pieces(difference.theirs).filter((piece) => !ofMap.test(piece)))) },
  { reason: "an empty list or map is none here from the start; upstream keeps it until it is stored, so a manager may own it, a generation count it and a check find it", is: (request, { at }, _, theirs) => /\[\]|\{\}/.test(bodyText(request)) && (/^metadata\.(managedFields|generation$)/.test(at) || (theirs.status === 422 && /"claims":\[\]/.test(bodyText(request)) && /claims may not be set for Resources at pod-level/.test(messageOf(theirs)))) },
  { reason: "an empty map is none here; upstream tells the two apart while it compares", is: (request, _, ours, theirs) => request.method !== "POST" && ours.status === 200 && theirs.status === 422 && /"parameters":\{\}/.test(bodyText(request)) },
  { reason: "an object that a PUT or an apply makes does not begin as one that is being deleted", is: (request, { at, ours }) => request.method !== "POST" && /deletion(GracePeriodSeconds|Timestamp)/.test(`${at}${bodyText(request)}`) && ours === undefined },
];
