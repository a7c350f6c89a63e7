// A client of Kubernetes' runtime interface, for the tests alone, with what it depends on.
module loper.run/test/engines/cri

go 1.26.0

require (
	github.com/gogo/protobuf v1.3.2
	google.golang.org/grpc v1.58.3
	k8s.io/cri-api v0.29.0
)

require (
	github.com/golang/protobuf v1.5.3 // indirect
	golang.org/x/net v0.17.0 // indirect
	golang.org/x/sys v0.13.0 // indirect
	golang.org/x/text v0.13.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20230822172742-b8732ec3820d // indirect
	google.golang.org/protobuf v1.31.0 // indirect
)
