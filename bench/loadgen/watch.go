package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// Watch is what a run of streams came to.
type Watch struct {
	Streams   int     `json:"streams"`
	OpenS     float64 `json:"open_s"`
	Written   int     `json:"written"`
	Expected  int     `json:"expected"`
	Delivered Spread  `json:"delivered"` // from just before the write was sent to the client's hands
	Writes    Spread  `json:"writes"`    // the write call itself
}

// A store that can be watched: how a stream is opened and how a stamped value is written.
type store struct {
	watchPath string
	writePath string
	open      func(id string) []byte
	openAll   []byte
	write     func(id, stamp string) []byte
}

var (
	prefix = []byte("stamp-")
	// 330 bytes: what an event of ours weighs beside its resume token.
	padding = strings.Repeat("x", 330-len("stamp-")-19)
)

// ours: WatchInstance(id), WatchInstances(), UpdateInstance(id, name).
var ours = store{
	watchPath: "/gpuplane.v1.Instances/WatchInstance",
	writePath: "/gpuplane.v1.Instances/UpdateInstance",
	open:      func(id string) []byte { return field(1, []byte(id)) },
	write: func(id, stamp string) []byte {
		return append(field(updateID, []byte(id)), field(updateName, []byte(stamp))...)
	},
}

// Field numbers of gpuplane.v1.UpdateInstanceRequest.
const (
	updateID   = 1
	updateName = 2
)

// etcd: Watch with WatchCreateRequest{key, range_end}, Put{key, value}.
var etcd = store{
	watchPath: "/etcdserverpb.Watch/Watch",
	writePath: "/etcdserverpb.KV/Put",
	open:      func(id string) []byte { return field(1, field(1, []byte("b/"+id))) },
	openAll:   field(1, append(field(1, []byte("b/")), field(2, []byte("b0"))...)),
	write: func(id, stamp string) []byte {
		return append(field(1, []byte("b/"+id)), field(2, []byte(stamp+padding))...)
	},
}

func watch() Watch {
	kind := flag.String("kind", "ours", "ours or etcd")
	idFile := flag.String("ids", "", "file of instance ids, one a line")
	streams := flag.Int("streams", 100, "streams")
	events := flag.Int("events", 1000, "events to write")
	rate := flag.Float64("rate", 100, "events per second, at random")
	all := flag.Bool("all", false, "every stream gets every event")
	flag.Parse()
	server := ours
	if *kind == "etcd" {
		server = etcd
	}
	if *all && *kind == "ours" {
		server.watchPath = "/gpuplane.v1.Instances/WatchInstances"
	}
	text, err := os.ReadFile(*idFile)
	if err != nil {
		fatal("ids", err)
	}
	ids := strings.Fields(string(text))[:*streams]
	connections := dial()
	writer := dial()[0]
	receiver := receiver{start: time.Now().UnixNano()}
	began := time.Now()
	var opened sync.WaitGroup
	opened.Add(*streams)
	for i := range *streams {
		request := server.open(ids[i])
		if *all {
			request = server.openAll
		}
		go receiver.follow(connections[i%len(connections)], server.watchPath, request, &opened)
	}
	opened.Wait()
	openS := time.Since(began).Seconds()
	time.Sleep(500 * time.Millisecond)
	writes := send(writer, server, ids, *events, *rate)
	expected := *events
	if *all {
		expected *= *streams
	}
	for deadline := time.Now().Add(20 * time.Second); receiver.count() < expected && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	return Watch{*streams, openS, *events, expected, spread(receiver.take()), spread(writes)}
}

// send writes stamped values at random moments, whether or not earlier writes have returned.
func send(conn *grpc.ClientConn, server store, ids []string, events int, rate float64) []time.Duration {
	var lock sync.Mutex
	var times []time.Duration
	var pending sync.WaitGroup
	due := time.Now()
	for range events {
		due = due.Add(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		id := ids[rand.Intn(len(ids))]
		pending.Go(func() {
			now := time.Now()
			request := server.write(id, fmt.Sprintf("%s%d", prefix, now.UnixNano()))
			var reply []byte
			if err := conn.Invoke(identified(context.Background()), server.writePath, &request, &reply); err != nil {
				fatal(server.writePath, err)
			}
			lock.Lock()
			times = append(times, time.Since(now))
			lock.Unlock()
		})
	}
	pending.Wait()
	return times
}

type receiver struct {
	start   int64
	counted atomic.Int64
	lock    sync.Mutex
	times   []time.Duration
}

// follow reads one stream to its end and times every stamp it meets.
func (r *receiver) follow(conn *grpc.ClientConn, path string, request []byte, opened *sync.WaitGroup) {
	shape := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(identified(context.Background()), shape, path)
	if err != nil {
		fatal("open", err)
	}
	if err := stream.SendMsg(&request); err != nil {
		fatal("send", err)
	}
	if strings.HasPrefix(path, "/gpuplane") { // a server stream: the request is all
		if err := stream.CloseSend(); err != nil {
			fatal("close", err)
		}
	}
	for first := true; ; first = false {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			fatal("a stream ended", err)
		}
		now := time.Now().UnixNano()
		if first { // snapshot, bookmark or etcd's "created"
			opened.Done()
			continue
		}
		r.scan(message, now)
	}
}

func (r *receiver) scan(message []byte, now int64) {
	for rest := message; ; {
		at := bytes.Index(rest, prefix)
		if at < 0 || len(rest) < at+len(prefix)+19 {
			return
		}
		rest = rest[at+len(prefix):]
		stamp, err := strconv.ParseInt(string(rest[:19]), 10, 64)
		if err != nil || stamp < r.start {
			continue
		}
		r.counted.Add(1)
		r.lock.Lock()
		r.times = append(r.times, time.Duration(now-stamp))
		r.lock.Unlock()
	}
}

func (r *receiver) count() int { return int(r.counted.Load()) }

func (r *receiver) take() []time.Duration {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.times
}
