"""Answers each datagram with its own name and the text."""
import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 5000))
while True:
    text, sender = server.recvfrom(2048)
    server.sendto(socket.gethostname().encode() + b" " + text, sender)
