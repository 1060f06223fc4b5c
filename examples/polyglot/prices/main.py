"""prices: what a thing costs. Asks desk for the rates of other currencies; there is nothing of a mesh in here.

python3 main.py                                    serves
python3 main.py ask HOST/PATH TIMES [NAME:VALUE]   asks again and again, and says how often each answer came
"""

import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = os.environ.get("VERSION", "v1")
# Answers 503 to everything but its probe: a pod that looks well and is not.
BROKEN = os.environ.get("BROKEN") == "yes"
EUROS = {"KETTLE": 39.0, "TEAPOT": 24.5, "MUG": 8.0}
# The next version sells for less.
FACTOR = 0.9 if VERSION == "v2" else 1.0
PASSED_ON = ("traceparent", "tracestate", "x-preview")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/health":
            return self.answer(200, {"status": "ok"})
        if BROKEN:
            return self.answer(503, {"error": "out of order"})
        if url.path == "/report":
            time.sleep(30)
            return self.answer(200, EUROS)
        sku = url.path.removeprefix("/prices/")
        if sku not in EUROS:
            return self.answer(404, {"error": "nobody sells this"})
        currency = parse_qs(url.query).get("currency", ["EUR"])[0]
        try:
            rate = 1 if currency == "EUR" else self.rates()[currency]
        except (OSError, KeyError) as error:
            return self.answer(502, {"error": f"no rate of {currency}: {error}"})
        self.answer(200, {"sku": sku, "price": round(EUROS[sku] * FACTOR * rate, 2), "currency": currency})

    def rates(self):
        # What a caller said about the whole of his request goes along with the calls made for it.
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        with urllib.request.urlopen(urllib.request.Request("http://desk/rates", headers=headers), timeout=10) as response:
            return json.load(response)

    def answer(self, status, body):
        payload = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.send_header("x-instance-id", socket.gethostname())
        self.end_headers()
        self.wfile.write(payload)
        if self.path != "/health":
            trace = re.match("00-([0-9a-f]{32})-", self.headers.get("traceparent", ""))
            print(f"prices {self.command} {self.path} {status} trace={trace[1] if trace else '-'}", flush=True)

    def log_message(self, *_):
        pass


class Client(http.client.HTTPConnection):
    connections = 0

    def connect(self):
        super().connect()
        self.connections += 1


def ask_often(place, times, header):
    host, _, path = place.partition("/")
    client, counts = Client(host), {}
    for _ in range(times):
        client.request("GET", f"/{path}", headers=dict([header.split(":")]) if header else {})
        response = client.getresponse()
        response.read()
        said = f"200 {response.getheader('x-instance-id')}" if response.status == 200 else str(response.status)
        counts[said] = counts.get(said, 0) + 1
    for said, count in sorted(counts.items()):
        print(count, said)
    print(f"connections: {client.connections}")


def serve():
    server = ThreadingHTTPServer(("", 8080), Handler)
    # From another thread: shutdown() waits for the loop that the signal interrupts.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"prices {VERSION} is listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        ask_often(sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
    else:
        serve()
