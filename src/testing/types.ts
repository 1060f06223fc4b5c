/// <reference lib="esnext.disposable" preserve="true" />

/** Any object of the Kubernetes API. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: { name?: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string>; uid?: string; resourceVersion?: string; [field: string]: unknown };
  /** Fields of hundreds of kinds, custom ones among them. */
  [field: string]: any;
}

/** Which object: `{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" } }`. The namespace is "default" unless said. */
export interface ObjectRef {
  apiVersion?: string;
  kind?: string;
  metadata?: { name?: string; namespace?: string };
}

export interface StackOptions {
  /** Applied before `startWherry` resolves: paths (a folder or file of manifests, a kustomization, a skaffold.yaml), and objects. */
  manifests?: string | KubeObject | readonly (string | KubeObject)[];
  /** Folders whose skaffold.yaml says which images they are: known, and not applied. */
  link?: string | readonly string[];
  /** Begin with what `wherry backup` wrote: every test gets its own copy. */
  from?: string;
  /** Where it keeps its data. Default: a temporary folder that goes with the stack. One that is given stays, with its log beside it (`DATADIR.log`). */
  dataDir?: string;
  /** How pods are kept apart; default "auto". */
  isolation?: "auto" | "isolated" | "plain";
  /** Ports beyond 80 and 443 that pods may dial outside. */
  egressPorts?: readonly number[];
  /** Further folders below which hostPath volumes may point. */
  hostPath?: readonly string[];
  /** The context of node:test: when the test fails, the data is kept and its place is told. */
  test?: { after(work: () => unknown): void; readonly passed?: boolean; diagnostic?(message: string): void };
}

export interface WaitOptions {
  /** Default: "default". */
  namespace?: string;
  /** Default: 60,000. */
  timeoutMs?: number;
}

/** A whole stack of a test's own. */
export interface Stack {
  /** Of the API, on 127.0.0.1 and a port of its own. */
  readonly apiUrl: string;
  /** The path of a kubeconfig for kubectl, Helm and every client library. The user's own is not touched. */
  readonly kubeconfig: string;
  readonly dataDir: string;
  readonly mode: "isolated" | "plain";
  readonly client: StackClient;
  /** Server-side applies objects, a field that there is not being a mistake; applies paths as `wherry up` does. Rejects with what the API says. */
  apply(...manifests: readonly (string | KubeObject | readonly (string | KubeObject)[])[]): Promise<void>;
  /**
   * Resolves when "deployment/web", "statefulset/db", "daemonset/x", "pod/p", "job/j" (complete), one or several, is
   * ready; without a name: every workload of every namespace. Rejects at once when an image will never come, and after
   * `timeoutMs` with what is missing and the last words of the programs.
   */
  waitReady(what?: string | readonly string[], options?: WaitOptions): Promise<void>;
  /** Where this machine reaches a Service: "http://127.0.0.1:20001", or "tcp://…" for what is no HTTP. Waits for it to have an endpoint. */
  url(service: string, port?: number, options?: WaitOptions): Promise<string>;
  /** What "deployment/web" or a pod has printed; of all its pods and containers unless one is named. */
  logs(what: string, options?: { namespace?: string; container?: string; tail?: number; previous?: boolean }): Promise<string>;
  /** Leaves the data where it is when the stack stops, for a look afterwards. */
  keep(): void;
  /** Ends every program, and removes the data unless it is to be kept. Again: waits for the same end. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The API, object by object. Whoever wants watches or types takes `kubeconfig` and a client library. */
export interface StackClient {
  get(ref: ObjectRef): Promise<KubeObject>;
  list(ref: ObjectRef, options?: { labelSelector?: string; fieldSelector?: string; allNamespaces?: boolean }): Promise<KubeObject[]>;
  create(object: KubeObject): Promise<KubeObject>;
  /** Server-side apply as field manager "wherry-testing", taking what others own. */
  apply(object: KubeObject): Promise<KubeObject>;
  /** A JSON merge patch: what is given replaces, null removes. */
  patch(object: KubeObject): Promise<KubeObject>;
  delete(ref: ObjectRef): Promise<void>;
  /** Any request; the answer's JSON, or its text where it is none. A failure is an ApiError. */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<any>;
}
