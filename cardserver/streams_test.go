package main_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestIdleStreams holds a thousand streams of a thousand tasks open on one process. Each
// costs at most 64 KiB in either binding, and a request beside them is answered.
func TestIdleStreams(t *testing.T) {
	const streams, most = 1000, 64 << 10
	p := start(t, "ERRAND_MODEL=standin:delay=10m")
	if p.resident() == 0 {
		t.Skip("left out, because this system does not tell the memory of a process in /proc")
	}

	c := p.client()
	ids := make([]string, streams)
	each(streams, func(i int) { ids[i] = string(mustSend(t, c, immediately(userText(fmt.Sprintf("m%d", i), "hello"))).ID) })
	before := p.resident()
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}}

	each(streams, func(i int) {
		if err := subscribe(ctx, client, p.url(), ids[i], i%2 == 0); err != nil {
			t.Error(err)
		}
	})

	if t.Failed() {
		return
	}

	one := (p.resident() - before) / streams
	t.Logf("%d KiB a stream", one>>10)
	if one > most {
		t.Errorf("a stream takes %d bytes, at most %d wanted", one, most)
	}

	mustSend(t, c, immediately(userText("beside", "hello")))
}

// each runs f for 0 to n-1, 32 at a time.
func each(n int, f func(i int)) {
	var all sync.WaitGroup
	turn := make(chan struct{}, 32)
	for i := range n {
		turn <- struct{}{}
		all.Go(func() { f(i); <-turn })
	}
	all.Wait()
}

// subscribe opens a stream and returns after its first event. The stream stays open until
// ctx ends.
func subscribe(ctx context.Context, client *http.Client, url, id string, rest bool) error {
	method, target, body := "POST", url+"/", `{"jsonrpc":"2.0","id":1,"method":"SubscribeToTask","params":{"id":"`+id+`"}}`
	if rest {
		method, target, body = "GET", url+"/tasks/"+id+":subscribe", ""
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = res.Body.Close() })
	line, err := bufio.NewReaderSize(res.Body, 512).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "data: ") || !strings.Contains(line, id) {
		return fmt.Errorf("the stream begins with %q, %v", line, err)
	}
	return nil
}

// resident is the memory of the process in bytes, or 0 where the system does not show it.
func (p *process) resident() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(kb)[0])
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
