"""The standard file server; what it serves is who it is."""
import http.server, os, socket, sys

os.chdir("/www")
with open("index.html", "w") as file:
    file.write(socket.gethostname() + "\n")
http.server.test(http.server.SimpleHTTPRequestHandler, http.server.ThreadingHTTPServer, port=int(sys.argv[1]))
