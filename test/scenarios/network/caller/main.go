// A static program that knows nothing of where it runs: it counts its visits in redis and asks the web Service.
// GET /redis.net/web.net names the two hosts; the answer is one line. Only `net`: small, and quick to build.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

func ask(host, port, question string) (string, error) {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(connection, question); err != nil {
		return "", err
	}
	reader := bufio.NewReader(connection)
	if strings.HasPrefix(question, "*") {
		line, err := reader.ReadString('\n')
		return strings.TrimSpace(line), err
	}
	whole, err := io.ReadAll(reader)
	_, body, _ := strings.Cut(string(whole), "\r\n\r\n")
	return strings.TrimSpace(body), err
}

func serve(connection net.Conn) {
	defer connection.Close()
	line, err := bufio.NewReader(connection).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) < 2 {
		return
	}
	status, body := "200 OK", "healthy"
	if hosts := strings.Split(strings.Trim(fields[1], "/"), "/"); len(hosts) == 2 {
		visits, err := ask(hosts[0], "6379", "*2\r\n$4\r\nINCR\r\n$6\r\nvisits\r\n")
		web, webErr := ask(hosts[1], "80", "GET / HTTP/1.0\r\n\r\n")
		body = fmt.Sprintf("redis says %s, web says %s", visits, web)
		if err != nil || webErr != nil {
			status, body = "502 Bad Gateway", fmt.Sprint(err, webErr)
		}
	}
	fmt.Fprintf(connection, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, len(body)+1, body)
}

func main() {
	listener, err := net.Listen("tcp", ":9000")
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(connection)
	}
}
