// Loadgen is the compiled half of the bench: what h2load cannot do. It speaks gRPC with raw bytes, so it needs no stubs.
//
//	loadgen unary -target unix:/run/s.sock -path /gpuplane.v1.Instances/CreateInstance -body 2208... -n 5000 -id 1
//	loadgen watch -kind ours|etcd -target ... -ids file -streams 1000 -events 2000 -rate 100 [-all]
//
// Every run prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sort"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// raw hands bytes to gRPC as they are.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = append([]byte(nil), b...); return nil }

var (
	target = flag.String("target", "", "address of the server")
	key    = flag.String("key", "", "bearer token, if any")
	conns  = flag.Int("conns", 8, "connections")
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("say what to do: unary or watch")
	}
	mode := os.Args[1]
	os.Args = append(os.Args[:1], os.Args[2:]...)
	var result any
	switch mode {
	case "unary":
		result = unary()
	case "watch":
		result = watch()
	default:
		log.Fatalf("no such mode: %s", mode)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// dial opens the connections; each is its own.
func dial() []*grpc.ClientConn {
	made := make([]*grpc.ClientConn, *conns)
	for i := range made {
		conn, err := grpc.NewClient(*target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
			grpc.WithAuthority("localhost"))
		if err != nil {
			log.Fatal(err)
		}
		made[i] = conn
	}
	return made
}

// identified adds the caller's key to a call.
func identified(ctx context.Context) context.Context {
	if *key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+*key)
}

// field is one length-delimited protobuf field.
func field(number int, value []byte) []byte {
	out := []byte{byte(number<<3 | 2)}
	n := len(value)
	for ; n > 0x7f; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), value...)
}

// Spread is a distribution of times in milliseconds.
type Spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func spread(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(q float64) float64 {
		return float64(times[int(q*float64(len(times)-1)+0.5)].Microseconds()) / 1000
	}
	return Spread{len(times), at(0.5), at(0.9), at(0.99), at(1)}
}

func fatal(what string, err error) {
	fmt.Fprintln(os.Stderr, what+":", err)
	os.Exit(1)
}
