package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// serve listens where the arguments of the suite's manifests say: --port, --tls (a port that is also a --port), --grpc, --tcp.
// Certificate and key are made here: files that --crt and --key name are the original image's.
func serve(args []string) error {
	var ports, secure, calls, raw []string
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		switch name {
		case "port":
			ports = append(ports, value)
		case "tls":
			secure = append(secure, value)
		case "grpc":
			calls = append(calls, value)
		case "tcp":
			raw = append(raw, value)
		case "crt", "key":
		default:
			return fmt.Errorf("unknown argument %s", arg)
		}
	}
	if len(ports)+len(calls)+len(raw) == 0 {
		ports = []string{"8080"}
	}
	failed := make(chan error)
	listen := func(port string, run func(net.Listener) error) error {
		listener, err := net.Listen("tcp", ":"+port)
		if err == nil {
			go func() { failed <- run(listener) }()
		}
		return err
	}
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true)
	for _, port := range ports {
		server := &http.Server{Handler: echo(port), Protocols: both}
		run := server.Serve
		for _, other := range secure {
			if other == port {
				server.TLSConfig = selfSigned()
				run = func(listener net.Listener) error { return server.ServeTLS(listener, "", "") }
			}
		}
		if err := listen(port, run); err != nil {
			return err
		}
	}
	for _, port := range calls {
		server := &http.Server{Handler: http.HandlerFunc(answerCall), Protocols: both}
		if err := listen(port, server.Serve); err != nil {
			return err
		}
	}
	for _, port := range raw {
		if err := listen(port, echoBytes); err != nil {
			return err
		}
	}
	log.Printf("serving %v", args)
	return <-failed
}

func describe(request *http.Request, port string) string {
	hostname, _ := os.Hostname()
	client, _, _ := net.SplitHostPort(request.RemoteAddr)
	lines := []string{"ServicePort=" + port, "Host=" + request.Host, "URL=" + request.URL.RequestURI(), "Method=" + request.Method, "Proto=" + request.Proto, "IP=" + client, "Hostname=" + hostname}
	for _, name := range slices.Sorted(maps.Keys(request.Header)) {
		for _, value := range request.Header[name] {
			lines = append(lines, "RequestHeader="+name+":"+value)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func echo(port string) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = io.WriteString(response, describe(request, port))
	}
}

// answerCall answers any unary call of gRPC with a message whose first field is a text.
func answerCall(response http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	response.Header().Set("Content-Type", "application/grpc")
	response.Header().Set("Trailer", "Grpc-Status")
	_, _ = response.Write(frame(textMessage(describe(request, "grpc"))))
	response.Header().Set("Grpc-Status", "0")
}

func echoBytes(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			hostname, _ := os.Hostname()
			fmt.Fprintf(connection, "StatusCode=200\nHostname=%s\n", hostname)
			_, _ = io.Copy(connection, connection)
		}()
	}
}

func selfSigned() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"echo"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
