//go:build unix

package infra_test

import (
	"os/exec"
	"syscall"
)

// confine makes the command run as the user, in the root.
func confine(c *exec.Cmd, root string, user uint32) {
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
}
