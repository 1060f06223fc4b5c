import assert from "node:assert/strict";
import { test } from "node:test";
import { checkMountTarget } from "./mount-policy.ts";

test("where a mount may lie", () => {
  const allowed: [string, string][] = [
    ["/app", "/app"], ["/data/", "/data"], ["/a//b", "/a/b"], ["/etc/config", "/etc/config"], ["/etc/nginx/conf.d", "/etc/nginx/conf.d"], ["/etc/ssl/certs", "/etc/ssl/certs"],
    ["/usr/share/nginx/html", "/usr/share/nginx/html"], ["/usr/local/share/x", "/usr/local/share/x"], ["/dev/shm", "/dev/shm"], ["/tmp", "/tmp"], ["/var/lib/postgresql/data", "/var/lib/postgresql/data"],
    ["/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets/kubernetes.io/serviceaccount"], ["/binary", "/binary"], ["/opt/x", "/opt/x"], ["/home/app", "/home/app"], ["/root", "/root"],
  ];
  for (const [target, path] of allowed) assert.equal(checkMountTarget(target), path);
  const refused = [
    "", "app", "/", "//", "/.", "/..", "/app/../usr", "/usr", "/usr/", "/usr/bin", "/usr/bin/env", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/bin", "/bin/sh", "/sbin/ip", "/lib", "/lib64/ld.so", "/lib/x86_64-linux-gnu/libc.so.6", "/libx32",
    "/proc", "/proc/1", "/sys", "/sys/fs/cgroup", "/dev", "/dev/null", "/dev/pts", "/etc", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/nsswitch.conf", "/etc/ld.so.preload", "/etc/ld.so.cache", "/etc/ld.so.conf.d/x", "/etc/alternatives/awk",
    "/.old", "/.wherry/bin", "/a\0b", "/a\nb",
  ];
  for (const target of refused) assert.throws(() => checkMountTarget(target), { name: "SandboxRefusal", reason: "CreateContainerConfigError" }, target);
});
