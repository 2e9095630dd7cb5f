//go:build unix

package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// account is a user that servers run as. The zero account is the one of this process.
type account struct{ uid, gid int }

// serverAccount returns the account for servers: PostgreSQL refuses to run as root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return account{}, err
	}

	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return account{uid, gid}, err
}

// own gives a folder to the account.
func (a account) own(folder string) error {
	if a == (account{}) {
		return nil
	}
	return os.Chown(folder, a.uid, a.gid)
}

// run makes the command run as the account, in a process group of its own: what is typed at
// the terminal reaches the test alone.
func (a account) run(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a != (account{}) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
}

// kill ends the server's processes with SIGKILL. Its first process, the postmaster, is halted
// before, or it would start others in the place of those that die. It ends last: while it is
// there the others are known as its children.
func (s *Server) kill() error {
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}

	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		halted, children, err := family(s.process.Pid)
		if err != nil {
			return err
		}
		if halted && len(children) == 0 {
			return s.process.Kill()
		}
		if time.Now().After(end) {
			return fmt.Errorf("the processes %v outlive a SIGKILL", children)
		}
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
	}
}

// family reports whether a process is halted, and lists its children that have not ended.
func family(parent int) (halted bool, children []int, err error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		return false, nil, fmt.Errorf("listing processes with ps: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var pid, of int
		var state string
		if _, err := fmt.Sscan(line, &pid, &of, &state); err != nil {
			return false, nil, fmt.Errorf("reading the line %q of ps: %w", line, err)
		}
		switch {
		case pid == parent:
			halted = strings.HasPrefix(state, "T")
		case of == parent && !strings.HasPrefix(state, "Z"):
			children = append(children, pid)
		}
	}
	return halted, children, nil
}
