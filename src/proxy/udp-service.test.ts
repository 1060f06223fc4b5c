import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { bindUdpHandle } from "../base/handles.ts";
import { privilegedPortOffset } from "./messages.ts";
import { eventually, nextAddress, port, snapshot, startSupervisor } from "./testing/network.ts";

async function echo(name: string): Promise<Socket & AsyncDisposable & { port: number }> {
  const socket = createSocket("udp4");
  socket.on("message", (message, from) => socket.send(`${name}:${message}:${from.port}`, from.port, from.address));
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return Object.assign(socket, { port: socket.address().port, [Symbol.asyncDispose]: async () => void socket.close() });
}

/** A connected client, as every resolver is: it hears answers only from the address that it asked. */
async function client(ip: string, number: number): Promise<AsyncDisposable & { ask(text: string): Promise<string> }> {
  const socket = createSocket("udp4");
  socket.connect(number, ip);
  await once(socket, "connect");
  return {
    async ask(text) {
      const answer = new Promise<string>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("no answer")), 300);
        const done = () => {
          clearTimeout(timer);
          socket.removeAllListeners("message").removeAllListeners("error");
        };
        socket.once("message", (message) => (done(), resolve(message.toString())));
        socket.once("error", (error: NodeJS.ErrnoException) => (done(), reject(new Error(error.code))));
      });
      socket.send(text);
      return await answer;
    },
    [Symbol.asyncDispose]: async () => void socket.close(),
  };
}

test("a UDP Service: each client has its own way to one endpoint and back", async () => {
  await using net = await startSupervisor();
  await using one = await echo("one");
  await using two = await echo("two");
  const ip = nextAddress();
  const service = (...pods: { port: number; ready?: boolean }[]) => ({ name: "echo", clusterIPs: [ip], ports: [port(7007, pods.map((pod) => ({ ip: "127.0.0.1", port: pod.port, ready: pod.ready ?? true })), { protocol: "UDP" })] });
  net.publish(snapshot(1, service(one, two)));
  await using first = await client(ip, 7007);
  const begun = await eventually(() => first.ask("a"));
  const again = await first.ask("b");
  assert.equal(again, begun.replace(":a:", ":b:"), "same endpoint, same way");
  await using second = await client(ip, 7007);
  const other = await second.ask("c");
  assert.notEqual(other.split(":")[0], begun.split(":")[0], "the next client has the next turn");
  assert.notEqual(other.split(":")[2], begun.split(":")[2]);

  const [stays] = begun.startsWith("one") ? [two] : [one];
  net.publish(snapshot(2, service(stays)));
  await eventually(async () => (await first.ask("d")).startsWith(begun.startsWith("one") ? "two" : "one"));
  net.publish(snapshot(3, service({ port: stays.port, ready: false })));
  await eventually(() => first.ask("e").then(() => false, (error: Error) => error.message === "ECONNREFUSED"));
});

test("a question asked while the worker is down is answered by the next one", async (t) => {
  await using net = await startSupervisor();
  const ip = net.network.dnsIP;
  const question = Buffer.concat([Buffer.from("abcd01000001000000000000", "hex"), Buffer.from("\x03web\x07default\x03svc\x07cluster\x05local\0", "latin1"), Buffer.from("00010001", "hex")]);
  net.publish(snapshot(1, { name: "web", clusterIPs: ["10.96.0.9"] }));
  // An ordinary user may not bind port 53; plain mode then listens where the preload knows to look.
  const lowPort = bindUdpHandle(nextAddress(), 53);
  lowPort.handle?.close();
  const socket = createSocket("udp4");
  t.after(() => socket.close());
  socket.connect(lowPort.code === "EACCES" ? 53 + privilegedPortOffset : 53, ip);
  await once(socket, "connect");
  socket.on("error", () => {});
  const ask = async (waitMs: number): Promise<Buffer | undefined> => {
    const heard = Promise.withResolvers<Buffer | undefined>();
    socket.once("message", heard.resolve);
    const timer = setTimeout(heard.resolve, waitMs, undefined);
    socket.send(question);
    const answer = await heard.promise;
    clearTimeout(timer);
    socket.removeAllListeners("message");
    return answer;
  };
  const first = await eventually(() => ask(100));
  assert.deepEqual([...(first ?? [])].slice(-4), [10, 96, 0, 9]);
  const [pid] = net.pids();
  process.kill(pid!, "SIGKILL");
  const later = await ask(3_000);
  assert.deepEqual([...(later ?? [])].slice(-4), [10, 96, 0, 9]);
});
