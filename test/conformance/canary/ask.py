# ask.py REQUESTS AT-ONCE kept|new: how many of so many requests each version answered, by its own word.
import collections
import http.client
import json
import sys
import threading

requests, at_once, connections = int(sys.argv[-3]), int(sys.argv[-2]), sys.argv[-1]
counts = collections.Counter()
lock = threading.Lock()


def caller(share):
    connection = http.client.HTTPConnection("go-app", timeout=60)
    for _ in range(share):
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            text = response.read().decode()
            answer = text if response.status == 200 else str(response.status)
        except OSError as error:
            answer = repr(error)
            connection.close()
        if connections == "new":
            connection.close()
        with lock:
            counts[answer] += 1


callers = [threading.Thread(target=caller, args=(requests // at_once,)) for _ in range(at_once)]
for each in callers:
    each.start()
for each in callers:
    each.join()
print(json.dumps(counts))
