package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Unary is what a run of unary calls came to. A single failed call fails the run.
type Unary struct {
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	Times   Spread  `json:"times"`
}

// unary sends the same body n times over all connections, with a request id of its own in each where -id names a field.
func unary() Unary {
	path := flag.String("path", "", "method")
	body := flag.String("body", "", "message as hex")
	n := flag.Int("n", 1000, "calls")
	streams := flag.Int("streams", 8, "calls in flight on each connection")
	idField := flag.Int("id", 0, "number of the field that takes a unique request id")
	flag.Parse()
	message, err := hex.DecodeString(strings.TrimSpace(*body))
	if err != nil {
		fatal("body", err)
	}
	var next atomic.Int64
	var lock sync.Mutex
	var times []time.Duration
	var workers sync.WaitGroup
	run := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	began := time.Now()
	for _, conn := range dial() {
		for range *streams {
			workers.Go(func() {
				var mine []time.Duration
				for i := next.Add(1); i <= int64(*n); i = next.Add(1) {
					request := message
					if *idField > 0 {
						id := fmt.Appendf(nil, "%s-%d", run, i)
						request = append(append([]byte(nil), message...), field(*idField, id)...)
					}
					var reply []byte
					sent := time.Now()
					if err := conn.Invoke(identified(context.Background()), *path, &request, &reply); err != nil {
						fatal(*path, err)
					}
					mine = append(mine, time.Since(sent))
				}
				lock.Lock()
				times = append(times, mine...)
				lock.Unlock()
			})
		}
	}
	workers.Wait()
	return Unary{*n, time.Since(began).Seconds(), spread(times)}
}
