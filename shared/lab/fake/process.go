package fake

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"
)

// A TasksProcess is a Tasks in its own process, which a test may kill.
type TasksProcess struct {
	Addr string // the address, the same after a Restart

	config processConfig
	cmd    *exec.Cmd
}

// processConfig is the configuration of the process, passed as its last argument.
type processConfig struct {
	Queues [][]byte `json:"queues"` // as Protocol Buffers
	Issuer string   `json:"issuer"`
}

// processMark marks such a process, as one of its arguments.
const processMark = "errand-fake-tasks"

// noTests keeps a test binary without a call of Main from running its tests, which would start
// it again for ever.
const noTests = "-test.run=^$"

// Main runs the fake and does not return if [StartTasksProcess] has started this process.
// Otherwise it does nothing. It must be the first call in the TestMain of a package whose
// tests kill the fake, because the process runs the test binary itself.
func Main() {
	if len(os.Args) != 4 || os.Args[2] != processMark {
		return
	}
	if err := serveProcess(os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveProcess(config string) error {
	var c processConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(3, "listener")) // from the parent, so that the address stays the same
	if err != nil {
		return err
	}
	go func() { // ends this process if its parent has gone without killing it
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(1)
	}()

	var o TasksOptions
	for _, data := range c.Queues {
		q := &cloudtaskspb.Queue{}
		if err := proto.Unmarshal(data, q); err != nil {
			return err
		}
		o.Queues = append(o.Queues, q)
	}

	if c.Issuer != "" {
		o.Token = RemoteToken(c.Issuer)
	}
	fmt.Println(processMark)
	return ServeTasks(l, o)
}

// StartTasksProcess starts a Tasks with these queues in its own process. The process sends
// tokens of the Issuer at the URL issuer, or no tokens if it is empty. It is killed at the
// end of the test.
func StartTasksProcess(t testing.TB, issuer string, queues ...*cloudtaskspb.Queue) *TasksProcess {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &TasksProcess{Addr: l.Addr().String(), config: processConfig{Issuer: issuer}}
	for _, q := range queues {
		data, err := proto.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		p.config.Queues = append(p.config.Queues, data)
	}
	p.start(t, l)
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process at once with SIGKILL, and its tasks are lost.
func (p *TasksProcess) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only if the process has ended
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Restart kills the process, if it runs, and starts it again at the same address, with its
// first queues and no tasks.
func (p *TasksProcess) Restart(t testing.TB) {
	t.Helper()
	p.Kill()
	l, err := net.Listen("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.start(t, l)
}

func (p *TasksProcess) start(t testing.TB, l net.Listener) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	config, err := json.Marshal(p.config)
	if err != nil {
		t.Fatal(err)
	}

	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(self, noTests, processMark, string(config))
	cmd.ExtraFiles = []*os.File{file} // descriptor 3; it listens already, so calls may arrive before the process reads them
	cmd.Stderr = os.Stderr

	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}

	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	p.cmd = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); line != processMark+"\n" {
		p.Kill()
		t.Fatalf("the fake did not start (%q, %v); does the TestMain of this package begin with fake.Main()?", line, err)
	}
}
