module wherry.example/authorizer

go 1.26

require (
	github.com/envoyproxy/go-control-plane/envoy v1.37.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260523011958-0a33c5d7ca68
	google.golang.org/grpc v1.83.1
)
