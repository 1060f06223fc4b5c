"""Speaks DNS by hand: ask.py udp|tcp NAME TYPE prints the response code, the flag TC if set, and the records, sorted."""
import socket, struct, sys

types = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
names = {number: name for name, number in types.items()}
how, name, wanted = sys.argv[1:4]
server = next(line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver"))
question = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"
query = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0) + question + struct.pack(">2H", types[wanted], 1)

if how == "udp":
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.settimeout(5)
    asker.sendto(query, (server, 53))
    answer = asker.recv(65535)
else:
    asker = socket.create_connection((server, 53), 5)
    asker.sendall(struct.pack(">H", len(query)) + query)
    reader = asker.makefile("rb")
    answer = reader.read(struct.unpack(">H", reader.read(2))[0])


def read_name(at):
    labels = []
    while answer[at]:
        if answer[at] >= 0xC0:
            return ".".join(labels + [read_name(struct.unpack_from(">H", answer, at)[0] & 0x3FFF)[0]]), at + 2
        labels.append(answer[at + 1 : at + 1 + answer[at]].decode())
        at += 1 + answer[at]
    return ".".join(labels), at + 1


number, flags, questions, answers = struct.unpack_from(">4H", answer)
assert number == 4711 and flags & 0x8000 and questions == 1
codes = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
print(codes[flags & 15] + (" TC" if flags & 0x0200 else ""))
_, at = read_name(12)
at += 4
lines = []
for _ in range(answers):
    owner, at = read_name(at)
    kind, _, _, length = struct.unpack_from(">2HIH", answer, at)
    at += 10
    if kind == 1:
        value = socket.inet_ntoa(answer[at : at + 4])
    elif kind == 5:
        value = read_name(at)[0]
    else:
        value = "%d %d %d " % struct.unpack_from(">3H", answer, at) + read_name(at + 6)[0]
    at += length
    lines.append(f"{owner} {names[kind]} {value}")
print("\n".join(sorted(lines)) if len(lines) <= 6 else f"{len(lines)} records")
