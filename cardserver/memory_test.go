package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/lab/conformance"
	"errand/shared/lab/dense"
)

// mostMemory is the memory that the program may have, as the smallest instance that the
// infrastructure makes by default.
const mostMemory = 512 << 20

// uncollected is what may be above it outside of a cgroup, where nothing but the test holds the
// limit: on a busy machine the collector of garbage is late.
const uncollected = 256 << 20

// An attack makes the program use memory, with n connections at once.
type attack struct {
	name  string
	model string // ERRAND_MODEL
	run   func(v *victim, n int)
}

var memoryAttacks = []attack{
	{"sends of dense JSON", "standin:", (*victim).denseSends},
	{"lists of dense records", "standin:", (*victim).lists},
	{"answers that are not read", "standin:delay=10m", (*victim).unread},
	{"streams of large tasks", "standin:delay=10m", (*victim).streams},
	{"blocking sends of large messages", "standin:delay=10m", (*victim).waits},
	{"turns of dense records", "standin:delay=1s", (*victim).turns},
	{"many leases of dense records", "standin:delay=10m", (*victim).turns},
	{"webhooks of large tasks", "standin:", (*victim).webhooks},
	{"pages of dead letters", "standin:", (*victim).deadLetters},
	{"bodies that stop", "standin:", (*victim).heldBodies},
}

// With the memory of the smallest instance the program stands every attack on its memory,
// and starts again with everything that the attack has stored.
func TestMemoryStandsAttacks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is read from /proc")
	}
	for _, a := range memoryAttacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			v := &victim{process: &process{t: t, program: "cardserver", dir: t.TempDir(), port: freePort(t), group: limited(t),
				env: []string{"GOMEMLIMIT=460MiB", "ERRAND_PUSH_ALLOW=127.0.0.0/8:*", "ERRAND_MODEL=" + a.model}}}
			v.run()
			v.figure("ready")

			a.run(v, conformance.Size(24, 2000))
			v.serves()
			v.figure("under attack")
			v.closeAll()

			v.kill()
			v.start()
			v.serves()
			v.figure("started again")
		})
	}
}

// limited makes a cgroup with mostMemory, where the kernel kills a program that takes more. Pages
// of files and the memory of the kernel count too. It is in ERRAND_TEST_CGROUP, the folder of a
// cgroup in which the test may make others. Without the variable there is none.
func limited(t *testing.T) string {
	in := os.Getenv("ERRAND_TEST_CGROUP")
	if in == "" {
		return ""
	}

	group, err := os.MkdirTemp(in, "errand-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(group) })

	limit := []byte(strconv.Itoa(mostMemory))
	if os.WriteFile(group+"/memory.limit_in_bytes", limit, 0) == nil { // version 1
		return group
	}
	if err := os.WriteFile(group+"/memory.max", limit, 0); err != nil {
		t.Fatal(err)
	}
	return group
}

// A stream of a large task holds no record while nothing happens. 200 tasks of 250 KB are
// twice in memory where they are held, which is more than is allowed here.
func TestIdleStreamsHoldNoRecord(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is read from /proc")
	}
	const tasks, most = 200, 96 << 20
	text := strings.Repeat("y", 250<<10)
	v := &victim{process: start(t, "GOMEMLIMIT=64MiB", "ERRAND_MODEL=standin:delay=10m")}

	few(tasks, func(int) {
		id := v.send(v.message(`"parts":[{"text":"`+text+`"}]`, true))
		if err := subscribe(t.Context(), attacker, v.url(), id, true); err != nil {
			t.Error(err)
		}
	})

	v.serves()
	if got := v.figure("idle"); got > most {
		t.Errorf("%d idle streams take %d MiB, want at most %d", tasks, got>>20, most>>20)
	}
}

// A victim is the program under an attack.
type victim struct {
	*process
	number atomic.Int64

	mu   sync.Mutex
	open []net.Conn
}

// figure logs and returns the largest resident memory since the last figure, and judges it. The kernel
// drops the pages of the program's file when it needs memory, so they do not count.
func (v *victim) figure(when string) (most int) {
	v.t.Helper()
	select {
	case <-v.done:
		v.t.Fatalf("%s: the program has ended", when)
	default:
	}

	proc := fmt.Sprintf("/proc/%d/", v.cmd.Process.Pid)
	text, err := os.ReadFile(proc + "status")
	if err != nil {
		v.t.Fatal(err)
	}
	most = (kibibytes(text, "VmHWM") - kibibytes(text, "RssFile")) << 10
	v.t.Logf("%s: %d MiB at most", when, most>>20)
	allowed := mostMemory
	if os.Getenv("ERRAND_TEST_CGROUP") == "" {
		allowed += uncollected
	}
	if most <= 0 || most > allowed {
		v.t.Errorf("%s: %d MiB, want at most %d", when, most>>20, allowed>>20)
	}

	_ = os.WriteFile(proc+"clear_refs", []byte("5"), 0) // begins a new peak; without it the old one goes on
	return most
}

// kibibytes reads a field of /proc/PID/status.
func kibibytes(status []byte, field string) int {
	_, rest, _ := strings.Cut(string(status), field+":")
	n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return n
}

// serves sends a small message as another caller does, and reads its task.
func (v *victim) serves() {
	v.t.Helper()
	body := v.message(`"parts":[{"text":"hello"}]`, true)
	for late := time.After(patience); ; {
		status, text := v.post(body)
		if id := taskID(text); status == http.StatusOK && id != "" {
			if status, text = v.post(`{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"` + id + `"}}`); status == http.StatusOK && strings.Contains(text, id) {
				return
			}
		}
		select {
		case <-late:
			v.t.Fatalf("another caller is not served: HTTP %d %.300s", status, text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// message is a SendMessage with the given fields of its message, and an id of its own.
func (v *victim) message(fields string, now bool, config ...string) string {
	id := v.number.Add(1)
	c := append(config, fmt.Sprintf(`"returnImmediately":%t`, now))
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"configuration":{%s},"message":{"messageId":"m%d","role":"ROLE_USER",%s}}}`,
		strings.Join(c, ","), id, fields)
}

var attacker = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4000}, Timeout: patience}

func (v *victim) post(body string) (int, string) {
	res, err := attacker.Post(v.url()+"/", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, string(text)
}

// crowd calls f n times at once.
func crowd(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// send posts a body until the program takes it.
func (v *victim) send(body string) string {
	for late := time.Now().Add(patience); ; {
		status, text := v.post(body)
		if id := taskID(text); status == http.StatusOK && id != "" {
			return id
		}
		if status == http.StatusOK || time.Now().After(late) {
			v.t.Errorf("a message is not accepted: HTTP %d %.200s", status, text)
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var firstID = regexp.MustCompile(`"result":\{"task":\{"id":"([^"]+)"`)

// taskID returns the id of the task in an answer; empty: there is none.
func taskID(text string) string {
	if m := firstID.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// packed is a list of at most 9,900 values, with a text that fills it to n bytes.
func packed(u dense.Unit, n int) string {
	list := strings.TrimSuffix(u.List(n, 9_900), "]")
	return list + `,"` + strings.Repeat("x", max(0, n-len(list))) + `"]`
}

// expensive is the unit whose values take the most memory.
var expensive = dense.Units[0]

const largest = 480 << 10 // bytes of content that a new task may have

// hold is how long an attack lasts.
func hold() time.Duration {
	return conformance.Long(200*time.Millisecond, 5*time.Second, 20*time.Second)
}

func (v *victim) denseSends(n int) {
	end := time.Now().Add(hold())
	var taken atomic.Int64
	crowd(n, func(i int) {
		list := packed(dense.Units[i%len(dense.Units)], []int{largest, 30 << 10}[i%2])
		for more := true; more; more = time.Now().Before(end) {
			if _, text := v.post(v.message(`"parts":[{"text":"x"}],"metadata":{"a":`+list+`}`, true)); taskID(text) != "" {
				taken.Add(1)
			}
		}
	})
	v.some(&taken, "accepted messages")
}

// some waits for the first of the things that an attack is about, and logs their number.
func (v *victim) some(n *atomic.Int64, things string) {
	v.t.Helper()
	for late := time.Now().Add(patience); n.Load() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			v.t.Fatalf("there are no %s", things)
		}
	}
	v.t.Logf("%d %s", n.Load(), things)
}

const listAll = `{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"pageSize":100,"includeArtifacts":true,"historyLength":100}}`

func (v *victim) lists(n int) {
	list := packed(expensive, 35<<10)
	few(min(n, 100), func(i int) {
		if i%2 == 0 {
			v.send(v.message(`"parts":[{"text":"x"}],"metadata":{"a":`+list+`}`, true))
			return
		}
		v.send(strings.Replace(v.message(`"parts":[{"text":"x"}]`, true), `"params":{`, `"params":{"metadata":{"a":`+list+`},`, 1))
	})
	v.large(min(n, 20))
	crowd(min(n, 500), func(int) { v.post(listAll) })
}

// few calls f n times, and eight times at once.
func few(n int, f func(i int)) {
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range n {
			next <- i
		}
	}()
	crowd(8, func(int) {
		for i := range next {
			f(i)
		}
	})
}

// large makes n tasks that are as large as a client can make them.
func (v *victim) large(n int, config ...string) []string {
	ids, text := make([]string, n), strings.Repeat("y", largest)
	few(n, func(i int) { ids[i] = v.send(v.message(`"parts":[{"text":"`+text+`"}]`, true, config...)) })
	return ids
}

// raw sends a request on a connection of its own, which reads little.
func (v *victim) raw(head, body string) net.Conn {
	c, err := net.Dial("tcp", strings.TrimPrefix(v.url(), "http://"))
	if err != nil {
		return nil
	}
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, head+body)

	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = append(v.open, c)
	return c
}

// rpc is raw for a whole request of JSON-RPC.
func (v *victim) rpc(body string) net.Conn { return v.raw(headOf("/", len(body)), body) }

func headOf(path string, length int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, length)
}

func (v *victim) closeAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.open {
		c.Close()
	}
	v.open = nil
}

func (v *victim) unread(n int) {
	ids := v.large(min(n, 40))
	crowd(n, func(i int) {
		v.rpc([]string{listAll, `{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"` + ids[i%len(ids)] + `"}}`}[i%2])
	})
	time.Sleep(hold())
}

// streams opens n streams, of which one half is not read.
func (v *victim) streams(n int) {
	ids := v.large(min(n, 1000))
	crowd(n, func(i int) {
		c := v.rpc(`{"jsonrpc":"2.0","id":1,"method":"SubscribeToTask","params":{"id":"` + ids[i%len(ids)] + `"}}`)
		if c != nil && i%2 == 0 {
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	})
	time.Sleep(hold())
}

func (v *victim) waits(n int) {
	text := strings.Repeat("y", largest)
	few(n, func(int) { v.rpc(v.message(`"parts":[{"text":"`+text+`"}]`, false)) })
	time.Sleep(hold())
}

// turns fills records with dense messages that wait for each other, and has many of them
// answered at once.
func (v *victim) turns(n int) {
	list := packed(expensive, 35<<10)
	crowd(min(n, 100), func(int) {
		id := v.send(v.message(`"contextId":"one","parts":[{"text":"x"}],"metadata":{"a":`+list+`}`, true))
		for range 12 {
			v.post(v.message(`"taskId":"`+id+`","parts":[{"text":"x"}],"metadata":{"a":`+list+`}`, true))
		}
	})
	time.Sleep(hold())
}

// webhooks has large tasks sent to receivers that answer late, each on a host of its own.
func (v *victim) webhooks(n int) {
	ended := make(chan bool)
	var asked atomic.Int64
	slow := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}))
	slow.Listener.Close()
	var err error
	if slow.Listener, err = net.Listen("tcp4", "0.0.0.0:0"); err != nil { // httptest listens at 127.0.0.1 alone
		v.t.Fatal(err)
	}
	slow.Start()
	defer slow.Close()
	defer close(ended)

	_, port, _ := net.SplitHostPort(slow.Listener.Addr().String())

	text := strings.Repeat("y", largest)
	few(min(n, 600), func(i int) {
		v.send(v.message(`"parts":[{"text":"`+text+`"}]`, true,
			fmt.Sprintf(`"taskPushNotificationConfig":{"url":"http://127.%d.%d.1:%s/h"}`, i/250+1, i%250+1, port)))
	})
	time.Sleep(hold())
	v.some(&asked, "webhooks")
}

func (v *victim) deadLetters(n int) {
	var asked atomic.Int64
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusGone)
	}))
	defer gone.Close()
	long := strings.Repeat("p", 1800)
	few(min(n, 100), func(i int) {
		v.send(v.message(`"parts":[{"text":"hello"}],"metadata":{"a":`+packed(expensive, 20<<10)+`}`, true,
			fmt.Sprintf(`"taskPushNotificationConfig":{"url":"%s/%d%s"}`, gone.URL, i, long)))
	})

	v.some(&asked, "webhooks")
	end := time.Now().Add(hold())
	crowd(n, func(int) {
		for more := true; more; more = time.Now().Before(end) {
			if res, err := attacker.Get(v.url() + "/push/dead-letters?pageSize=100"); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	})
}

// heldBodies announces bodies of 1 MiB and sends them but for a byte.
func (v *victim) heldBodies(n int) {
	half := strings.Repeat(" ", 1<<20-1)
	crowd(n, func(i int) {
		v.raw(headOf([]string{"/", "/message:send", "/push/redrive", "/tasks/x/pushNotificationConfigs"}[i%4], 1<<20), half)
	})
	time.Sleep(hold())
	v.closeAll()
}
