//go:build !unix

package postgres

import (
	"errors"
	"os/exec"
)

var errNoUnix = errors.New("PostgreSQL servers of tests need a Unix system")

type account struct{}

func serverAccount() (account, error) { return account{}, errNoUnix }

func (account) own(string) error { return errNoUnix }
func (account) run(*exec.Cmd)    {}

func (*Server) kill() error { return errNoUnix }
