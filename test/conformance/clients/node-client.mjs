// What programs written with the official JavaScript client do: informers, watches, exec, port-forward, apply, logs.
// node-client.mjs MODULE: the path of the client's entry. A check that does not hold ends it.
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import { isDeepStrictEqual } from "node:util";

const k8s = await import(process.argv[2]);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = "node";

function expect(name, actual, wanted) {
  if (!isDeepStrictEqual(actual, wanted)) {
    console.error(`${name}: ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`);
    process.exit(1);
  }
  console.log("ok", name);
}
/** Collects what is written, and waits for what matches. */
function collector() {
  let text = "";
  const arrived = new PassThrough();
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      arrived.emit("more");
      done();
    },
  });
  return {
    stream,
    text: () => text,
    async until(pattern) {
      while (!pattern.test(text)) await once(arrived, "more", { signal: AbortSignal.timeout(20_000) });
      return text;
    },
  };
}
const failure = (promise) => promise.then(() => undefined, (error) => error.code);

expect("version", (await config.makeApiClient(k8s.VersionApi).getCode()).major, "1");
await core.createNamespace({ body: { metadata: { name: namespace } } });

// An informer sees all that becomes of a ConfigMap.
const seen = [];
const noticed = new PassThrough();
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace, labelSelector: "watched=yes" }), "watched=yes");
for (const verb of ["add", "update", "delete"]) informer.on(verb, ({ metadata: { name }, data }) => (seen.push(`${verb} ${name} ${JSON.stringify(data)}`), noticed.emit("seen")));
let stopping = false;
informer.on("error", (error) => {
  // Its own end is told as an error too.
  if (stopping) return;
  console.error("informer", error);
  process.exit(1);
});
await informer.start();
const untilSeen = async (count) => {
  while (seen.length < count) await once(noticed, "seen", { signal: AbortSignal.timeout(20_000) });
};
const body = { metadata: { name: "settings", labels: { watched: "yes" } }, data: { a: "1" } };
const made = await core.createNamespacedConfigMap({ namespace, body });
await untilSeen(1);
await core.replaceNamespacedConfigMap({ namespace, name: "settings", body: { ...made, data: { a: "2" } } });
await untilSeen(2);
expect("conflict", await failure(core.replaceNamespacedConfigMap({ namespace, name: "settings", body: made })), 409);
const patched = await core.patchNamespacedConfigMap({ namespace, name: "settings", body: { data: { b: "3" } } }, k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch));
expect("merge patch", patched.data, { a: "2", b: "3" });
await untilSeen(3);
expect("informer's cache", informer.get("settings", namespace).data, { a: "2", b: "3" });
await core.deleteNamespacedConfigMap({ namespace, name: "settings" });
await untilSeen(4);
expect("informer", seen, ['add settings {"a":"1"}', 'update settings {"a":"2"}', 'update settings {"a":"2","b":"3"}', 'delete settings {"a":"2","b":"3"}']);
stopping = true;
await informer.stop();
expect("refusal", await failure(core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "Bad_Name" } } })), 422);
expect("missing", await failure(core.readNamespacedSecret({ namespace, name: "nope" })), 404);

// Chunks.
for (let number = 0; number < 25; number++) await core.createNamespacedSecret({ namespace, body: { metadata: { name: `s-${String(number).padStart(2, "0")}` }, stringData: { n: String(number) } } });
const names = [];
for (let token; token !== ""; ) {
  const page = await core.listNamespacedSecret({ namespace, limit: 10, _continue: token });
  names.push(...page.items.map(({ metadata }) => metadata.name));
  token = page.metadata._continue ?? "";
}
expect("chunks", names, Array.from({ length: 25 }, (_, number) => `s-${String(number).padStart(2, "0")}`));

// Objects of any kind, from text, by server-side apply.
const text = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: ${namespace}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: python:3
          command: [python3, -u, -m, http.server, "8080"]
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ${namespace}}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`;
const apply = (object, manager, force = false) => objects.patch(object, undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
for (const object of k8s.loadAllYaml(text)) await apply(object, "node");
const [deployment] = k8s.loadAllYaml(text);
expect("apply conflict", await failure(apply({ ...deployment, spec: { ...deployment.spec, replicas: 5 } }, "other")), 409);
expect("forced apply", (await apply({ ...deployment, spec: { ...deployment.spec, replicas: 2, minReadySeconds: 0 } }, "other", true)).metadata.managedFields.map(({ manager }) => manager).includes("other"), true);

// A watch sees it become ready.
const watch = new k8s.Watch(config);
const ready = await new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error("the Deployment did not become ready")), 60_000);
  const watching = watch.watch(
    `/apis/apps/v1/namespaces/${namespace}/deployments`,
    { allowWatchBookmarks: true },
    (type, object) => {
      if (object.status?.readyReplicas !== 2) return;
      clearTimeout(timer);
      void watching.then((controller) => controller.abort());
      resolve(`${type} ${object.metadata.name}`);
    },
    () => {},
  );
});
expect("watch", ready.endsWith(" web"), true);
const pod = (await core.listNamespacedPod({ namespace, labelSelector: "app=web" })).items[0].metadata.name;

// Streams.
const exec = new k8s.Exec(config);
const run = (command, stdin = null) =>
  new Promise((resolve, reject) => {
    const [stdout, stderr] = [collector(), collector()];
    exec.exec(namespace, pod, "web", command, stdout.stream, stderr.stream, stdin, false, (status) => resolve({ stdout: stdout.text(), stderr: stderr.text(), status })).catch(reject);
  });
const both = await run(["sh", "-c", "echo out; echo err >&2; exit 3"]);
expect("exec", [both.stdout, both.stderr, both.status.details.causes[0].message], ["out\n", "err\n", "3"]);
expect("exec stdin", (await run(["head", "-c", "5"], Readable.from(["hello and more"]))).stdout, "hello");

const forwarded = new k8s.PortForward(config);
const answer = collector();
// The client hangs up when its input ends.
const question = new PassThrough();
question.write("GET / HTTP/1.0\r\n\r\n");
const socket = await forwarded.portForward(namespace, pod, [8080], answer.stream, null, question);
expect("port-forward", (await answer.until(/<\/html>/)).startsWith("HTTP/1.0 200 OK"), true);
socket.close();

const log = collector();
// Followed until the program ends.
await new k8s.Log(config).log(namespace, pod, "web", log.stream, { follow: true, tailLines: 50 });
expect("log", /Serving HTTP on/.test(await log.until(/Serving HTTP/)), true);

const folder = mkdtempSync(join(tmpdir(), "node-client-"));
writeFileSync(join(folder, "note.txt"), "copied\n");
// It copies folders, and does not wait until it has.
await run(["mkdir", "/tmp/in"]);
await new k8s.Cp(config).cpToPod(namespace, pod, "web", folder, "/tmp/in");
expect("cp", (await run(["timeout", "20", "sh", "-c", "until [ -s /tmp/in/note.txt ]; do sleep 0.1; done; cat /tmp/in/note.txt"])).stdout, readFileSync(join(folder, "note.txt"), "utf8"));
rmSync(folder, { recursive: true });

const scaled = await apps.patchNamespacedDeploymentScale({ namespace, name: "web", body: { spec: { replicas: 1 } } }, k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch));
expect("scale", scaled.spec.replicas, 1);
const nodes = await k8s.topNodes(core);
expect("capacity", nodes[0].CPU.Capacity > 0, true);
const review = await config.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({ body: { spec: { resourceAttributes: { verb: "delete", resource: "nodes" } } } });
expect("access", review.status.allowed, true);
await core.deleteNamespace({ name: namespace });
process.exit(0);
