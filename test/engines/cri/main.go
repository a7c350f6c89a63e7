// Cri calls one method of a Kubernetes runtime service: cri SOCKET METHOD REQUEST, the request and what it prints as JSON.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// methods are what the tests call, with empty messages to read into.
var methods = map[string]struct{ request, response proto.Message }{
	"Version":                  {&cri.VersionRequest{}, &cri.VersionResponse{}},
	"RunPodSandbox":            {&cri.RunPodSandboxRequest{}, &cri.RunPodSandboxResponse{}},
	"PodSandboxStatus":         {&cri.PodSandboxStatusRequest{}, &cri.PodSandboxStatusResponse{}},
	"StopPodSandbox":           {&cri.StopPodSandboxRequest{}, &cri.StopPodSandboxResponse{}},
	"RemovePodSandbox":         {&cri.RemovePodSandboxRequest{}, &cri.RemovePodSandboxResponse{}},
	"ListPodSandbox":           {&cri.ListPodSandboxRequest{}, &cri.ListPodSandboxResponse{}},
	"CreateContainer":          {&cri.CreateContainerRequest{}, &cri.CreateContainerResponse{}},
	"StartContainer":           {&cri.StartContainerRequest{}, &cri.StartContainerResponse{}},
	"StopContainer":            {&cri.StopContainerRequest{}, &cri.StopContainerResponse{}},
	"RemoveContainer":          {&cri.RemoveContainerRequest{}, &cri.RemoveContainerResponse{}},
	"ContainerStatus":          {&cri.ContainerStatusRequest{}, &cri.ContainerStatusResponse{}},
	"ContainerStats":           {&cri.ContainerStatsRequest{}, &cri.ContainerStatsResponse{}},
	"UpdateContainerResources": {&cri.UpdateContainerResourcesRequest{}, &cri.UpdateContainerResourcesResponse{}},
	"ExecSync":                 {&cri.ExecSyncRequest{}, &cri.ExecSyncResponse{}},
}

func main() {
	if err := call(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		os.Exit(1)
	}
}

func call(socket, name, request string) error {
	m, ok := methods[name]
	if !ok {
		return fmt.Errorf("no method %q", name)
	}
	if err := jsonpb.Unmarshal(strings.NewReader(request), m.request); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := grpc.DialContext(ctx, "unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Invoke(ctx, "/runtime.v1.RuntimeService/"+name, m.request, m.response); err != nil {
		return err
	}
	return (&jsonpb.Marshaler{}).Marshal(os.Stdout, m.response)
}
