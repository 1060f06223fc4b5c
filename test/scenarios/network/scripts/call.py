"""
call.py http URL [COUNT]    asks COUNT times, each on a connection of its own; prints the different answers, sorted
call.py udp HOST PORT TEXT  sends a datagram, prints the answer without the name in front
call.py tcp HOST PORT       connects; prints what is read first, or the error
call.py api PATH            asks the API server with the pod's own token and certificate authority
"""
import json, socket, ssl, sys, urllib.error, urllib.request

mounted = "/var/run/secrets/kubernetes.io/serviceaccount/"
how, target, *rest = sys.argv[1:]
if how == "http":
    answers = {urllib.request.urlopen(target, timeout=10).read().decode().strip() for _ in range(int(rest[0]) if rest else 1)}
    print("\n".join(sorted(answers)))
elif how == "udp":
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.settimeout(5)
    asker.connect((target, int(rest[0])))
    asker.send(rest[1].encode())
    print(asker.recv(2048).decode().split(" ", 1)[1])
elif how == "tcp":
    try:
        print(socket.create_connection((target, int(rest[0])), 5).recv(100).decode())
    except OSError as error:
        print(error)
else:
    request = urllib.request.Request("https://kubernetes.default.svc" + target.replace("NAMESPACE", open(mounted + "namespace").read()), headers={"authorization": "Bearer " + open(mounted + "token").read()})
    try:
        answer = json.load(urllib.request.urlopen(request, context=ssl.create_default_context(cafile=mounted + "ca.crt"), timeout=10))
        print(answer["kind"], len(answer["items"]))
    except urllib.error.HTTPError as error:
        answer = json.load(error)
        print(answer["code"], answer["reason"], answer["message"])
