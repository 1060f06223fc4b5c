package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// call asks as often as --count says, by one connection, and prints each response as the suite reads it. Redirects are not
// followed.
func call(args []string) error {
	count, method, target := 1, http.MethodGet, ""
	header := http.Header{}
	for i := 0; i < len(args); i++ {
		name, value, _ := strings.Cut(args[i], "=")
		switch name {
		case "--method":
			method = value
		case "--count":
			parsed, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			count = parsed
		case "-H":
			i++
			name, value, _ := strings.Cut(args[i], ":")
			header.Add(name, strings.TrimSpace(value))
		default:
			target = args[i]
		}
	}
	address, err := url.Parse(target)
	if err != nil {
		return err
	}
	grpc := address.Scheme == "grpc"
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!grpc)
	protocols.SetUnencryptedHTTP2(grpc)
	client := &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if grpc {
		address.Scheme, address.Path, method = "http", "/proto.EchoTestService/Echo", http.MethodPost
		header.Set("Content-Type", "application/grpc")
		header.Set("Te", "trailers")
	}
	for i := 0; i < count; i++ {
		var body io.Reader
		if grpc {
			body = bytes.NewReader(frame(textMessage("")))
		}
		request, err := http.NewRequest(method, address.String(), body)
		if err != nil {
			return err
		}
		request.Header = header.Clone()
		if host := header.Get("Host"); host != "" {
			request.Host = host
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		status := response.StatusCode
		if grpc {
			content = textOf(content)
			if code := response.Trailer.Get("Grpc-Status"); code != "0" {
				status = 500
			}
		}
		print(i, target, status, response.Header, string(content))
	}
	return nil
}

func print(i int, target string, status int, header http.Header, content string) {
	lines := []string{}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			lines = append(lines, fmt.Sprintf("[%d] ResponseHeader=%s:%s", i, name, value))
		}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(content, "\n"), "\n") {
		lines = append(lines, fmt.Sprintf("[%d body] %s", i, line))
	}
	fmt.Printf("[%d] Url=%s\n[%d] StatusCode=%d\n%s\n\n", i, target, i, status, strings.Join(lines, "\n"))
}

// frame is gRPC's length-prefixed message, not compressed.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// textMessage is a message of protobuf whose field 1 is the text.
func textMessage(text string) []byte {
	return append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(text))), text...)
}

func textOf(framed []byte) []byte {
	if len(framed) < 6 {
		return nil
	}
	length, used := binary.Uvarint(framed[6:])
	if used <= 0 || len(framed) < 6+used+int(length) {
		return nil
	}
	return framed[6+used : 6+used+int(length)]
}
