# say.py tcp|udp|tls PORT TEXT: says it to the Gateway and prints the answer
import socket, ssl, sys
over, port, text = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if over == "udp" else socket.SOCK_STREAM)
s.settimeout(5)
s.connect((open("address").read(), int(port)))
if over == "tls":
    s = ssl.create_default_context(cafile="tls.crt").wrap_socket(s, server_hostname="through.example.com")
s.sendall(text.encode())
print(s.recv(1000).decode())
