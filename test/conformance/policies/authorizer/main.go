// An external authorizer that others wrote the protocol for: envoy.service.auth.v3 by grpc-go, with and without TLS.
// Users are let in by the header x-user; what it was asked goes on in x-heard.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
)

type server struct {
	auth.UnimplementedAuthorizationServer
	name string
}

func option(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}, AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}
}

func (s server) Check(_ context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	attributes := request.GetAttributes()
	http := attributes.GetRequest().GetHttp()
	user := http.GetHeaders()["x-user"]
	switch user {
	case "broken":
		return nil, fmt.Errorf("broken")
	case "ann":
		heard, err := json.Marshal([]any{s.name, http.GetMethod(), http.GetPath(), http.GetHost(), len(http.GetBody()) + len(http.GetRawBody()), attributes.GetContextExtensions()})
		if err != nil {
			return nil, err
		}
		return &auth.CheckResponse{
			Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
				Headers:              []*core.HeaderValueOption{option("x-heard", string(heard))},
				HeadersToRemove:      []string{"x-secret"},
				ResponseHeadersToAdd: []*core.HeaderValueOption{option("x-judged-by", s.name)},
			}},
		}, nil
	default:
		return &auth.CheckResponse{
			Status: &status.Status{Code: int32(codes.PermissionDenied)},
			HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
				Status:  &kind.HttpStatus{Code: kind.StatusCode_PaymentRequired},
				Headers: []*core.HeaderValueOption{option("x-judged-by", s.name)},
				Body:    "who are you?",
			}},
		}, nil
	}
}

func serve(address, name string, options ...grpc.ServerOption) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server_ := grpc.NewServer(options...)
	auth.RegisterAuthorizationServer(server_, server{name: name})
	if err := server_.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Certificate and key, by their files, for the port with TLS.
func main() {
	tls, err := credentials.NewServerTLSFromFile(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go serve(":9002", "tls", grpc.Creds(tls))
	serve(":9001", "plain")
}
