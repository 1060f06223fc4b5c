// stock: how many of a thing there are, and what they are worth. Asks prices; there is nothing of a mesh in here.
//
//	stock                                     serves
//	stock ask HOST/PATH TIMES [NAME:VALUE]    asks again and again, and says how often each answer came
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/signal"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	pieces   = map[string]int{"KETTLE": 4, "TEAPOT": 12, "MUG": 0}
	passedOn = []string{"traceparent", "tracestate", "x-preview"}
	trace    = regexp.MustCompile("^00-([0-9a-f]{32})-")
	client   = &http.Client{Timeout: 10 * time.Second}
)

// worth asks prices, with what the caller said about the whole of his request.
func worth(request *http.Request, sku string) (float64, error) {
	call, err := http.NewRequestWithContext(request.Context(), http.MethodGet, "http://prices/prices/"+sku, nil)
	if err != nil {
		return 0, err
	}
	for _, name := range passedOn {
		if value := request.Header.Get(name); value != "" {
			call.Header.Set(name, value)
		}
	}
	response, err := client.Do(call)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("prices answered %d", response.StatusCode)
	}
	var price struct{ Price float64 }
	if err := json.NewDecoder(response.Body).Decode(&price); err != nil {
		return 0, err
	}
	return price.Price * float64(pieces[sku]), nil
}

func stock(writer http.ResponseWriter, request *http.Request) {
	status, body := http.StatusOK, map[string]any{}
	sku := strings.TrimPrefix(request.URL.Path, "/stock/")
	if available, known := pieces[sku]; !known {
		status, body["error"] = http.StatusNotFound, "there never was any"
	} else if value, err := worth(request, sku); err != nil {
		status, body["error"] = http.StatusBadGateway, err.Error()
	} else {
		body["sku"], body["available"], body["worth"] = sku, available, value
	}
	answer(writer, status, body)
	id := "-"
	if found := trace.FindStringSubmatch(request.Header.Get("traceparent")); found != nil {
		id = found[1]
	}
	fmt.Printf("stock %s %s %d trace=%s\n", request.Method, request.URL.RequestURI(), status, id)
}

func answer(writer http.ResponseWriter, status int, body any) {
	host, _ := os.Hostname()
	writer.Header().Set("content-type", "application/json")
	writer.Header().Set("x-instance-id", host)
	writer.WriteHeader(status)
	_ = json.NewEncoder(writer).Encode(body)
}

func serve() error {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(writer http.ResponseWriter, _ *http.Request) {
		answer(writer, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("/stock/", stock)
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		<-stopping.Done()
		// Requests on their way are answered.
		ended <- server.Shutdown(context.Background())
	}()
	fmt.Println("stock is listening")
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

func askOften(place string, times int, header string) error {
	connections, counts := 0, map[string]int{}
	watch := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if !got.Reused {
			connections++
		}
	}})
	for range times {
		request, err := http.NewRequestWithContext(watch, http.MethodGet, "http://"+place, nil)
		if err != nil {
			return err
		}
		if name, value, found := strings.Cut(header, ":"); found {
			request.Header.Set(name, value)
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		// A body that is read to its end leaves the connection for the next.
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		said := strconv.Itoa(response.StatusCode)
		if response.StatusCode == http.StatusOK {
			said += " " + response.Header.Get("x-instance-id")
		}
		counts[said]++
	}
	answers := make([]string, 0, len(counts))
	for said := range counts {
		answers = append(answers, said)
	}
	sort.Strings(answers)
	for _, said := range answers {
		fmt.Println(counts[said], said)
	}
	fmt.Printf("connections: %d\n", connections)
	return nil
}

func main() {
	var err error
	if len(os.Args) > 3 && os.Args[1] == "ask" {
		times, _ := strconv.Atoi(os.Args[3])
		header := ""
		if len(os.Args) > 4 {
			header = os.Args[4]
		}
		err = askOften(os.Args[2], times, header)
	} else {
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
