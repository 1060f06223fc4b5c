"""What programs written with the official Python client do: typed and dynamic calls, watches, patches, exec, logs."""
import sys
import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()


def expect(name, actual, wanted):
    if actual != wanted:
        sys.exit(f"{name}: {actual!r} instead of {wanted!r}")
    print("ok", name)


expect("version", client.VersionApi().get_code().major, "1")
core.create_namespace({"metadata": {"name": "python"}})

# Typed, with a conflict and a refusal as their exceptions.
made = core.create_namespaced_config_map("python", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", labels={"app": "py"}), data={"a": "1"}))
stale = made.metadata.resource_version
made.data["a"] = "2"
core.replace_namespaced_config_map("settings", "python", made)
made.metadata.resource_version = stale
try:
    core.replace_namespaced_config_map("settings", "python", made)
except ApiException as error:
    expect("conflict", error.status, 409)
expect("merge patch", core.patch_namespaced_config_map("settings", "python", {"data": {"b": "3"}}).data, {"a": "2", "b": "3"})
expect("JSON patch", core.patch_namespaced_config_map("settings", "python", [{"op": "remove", "path": "/data/a"}]).data, {"b": "3"})
try:
    core.create_namespaced_config_map("python", {"metadata": {"name": "Bad_Name"}})
except ApiException as error:
    expect("refusal", (error.status, error.reason), (422, "Unprocessable Entity"))
expect("selector", [item.metadata.name for item in core.list_namespaced_config_map("python", label_selector="app=py").items], ["settings"])

# Chunks.
for number in range(25):
    core.create_namespaced_secret("python", {"metadata": {"name": f"s-{number:02}"}, "stringData": {"n": str(number)}})
names, token = [], None
while True:
    page = core.list_namespaced_secret("python", limit=10, _continue=token)
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
expect("chunks", names, [f"s-{number:02}" for number in range(25)])

# A watch sees a Deployment become ready.
utils.create_from_dict(client.ApiClient(), {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "python"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "web", "image": "python:3", "command": ["python3", "-u", "-m", "http.server", "8080"], "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}]}}},
})
for event in watch.Watch().stream(apps.list_namespaced_deployment, "python", timeout_seconds=60):
    if event["object"].status.ready_replicas == 2:
        break
expect("watch", event["object"].metadata.name, "web")

pod = core.list_namespaced_pod("python", label_selector="app=web").items[0].metadata.name
expect("exec", stream(core.connect_get_namespaced_pod_exec, pod, "python", command=["python3", "-c", "print(6 * 7)"], stdout=True, stderr=True, stdin=False, tty=False).strip(), "42")
shell = stream(core.connect_get_namespaced_pod_exec, pod, "python", command=["sh"], stdout=True, stderr=True, stdin=True, tty=False, _preload_content=False)
shell.write_stdin("echo from stdin; exit 3\n")
deadline = time.time() + 10
while shell.is_open() and time.time() < deadline:
    shell.update(timeout=1)
expect("exec stdin", (shell.read_stdout().strip(), shell.returncode), ("from stdin", 3))
expect("log", "Serving HTTP" in core.read_namespaced_pod_log(pod, "python"), True)

expect("scale", apps.patch_namespaced_deployment_scale("web", "python", {"spec": {"replicas": 1}}).spec.replicas, 1)

# Dynamic: discovery, a custom resource, server-side apply.
api = dynamic.DynamicClient(client.ApiClient())
definitions = api.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
definitions.create({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "shelves.example.org"}, "spec": {
    "group": "example.org", "scope": "Namespaced", "names": {"kind": "Shelf", "plural": "shelves"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"books": {"type": "integer", "minimum": 1}}}}}}}]}})
shelves = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="example.org/v1", kind="Shelf")
shelf = {"apiVersion": "example.org/v1", "kind": "Shelf", "metadata": {"name": "one"}, "spec": {"books": 5}}
expect("apply", shelves.server_side_apply(body=shelf, namespace="python", field_manager="py").spec.books, 5)
try:
    shelves.server_side_apply(body={**shelf, "spec": {"books": 6}}, namespace="python", field_manager="other")
except ApiException as error:
    expect("apply conflict", error.status, 409)
try:
    shelves.create(body={**shelf, "metadata": {"name": "none"}, "spec": {"books": 0}}, namespace="python")
except ApiException as error:
    expect("schema", error.status, 422)

review = client.AuthorizationV1Api().create_self_subject_access_review({"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}})
expect("access", review.status.allowed, True)
core.delete_namespace("python")
for event in watch.Watch().stream(core.list_namespace, field_selector="metadata.name=python", timeout_seconds=60):
    if event["type"] == "DELETED":
        break
expect("namespace gone", event["type"], "DELETED")
