package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"errand/shared/lab/conformance"
)

// programs are those of one version of PostgreSQL.
type programs struct {
	bin     string // folder
	sh      string
	account account
}

func (p programs) path(name string) string {
	if name == "sh" {
		return p.sh
	}
	return filepath.Join(p.bin, name)
}

// find locates the newest PostgreSQL, and the account that its server runs as.
func find(t testing.TB) programs {
	t.Helper()
	bin := newest()
	sh, serr := exec.LookPath("sh")
	_, perr := exec.LookPath("ps")
	conformance.Require(t, "postgres", bin != "" && serr == nil && perr == nil,
		"install PostgreSQL 13 or newer with its programs initdb, postgres and pg_ctl (package postgresql), and a Unix shell with ps (package procps)")

	account, err := serverAccount()
	if err != nil {
		t.Fatalf("PostgreSQL refuses to run as root, and there is no other account for it: %v", err)
	}
	return programs{bin, sh, account}
}

// newest returns the folder of the newest PostgreSQL, or an empty string.
var newest = sync.OnceValue(func() (newest string) {
	last := 0
	for _, bin := range folders() {
		if v := version(bin); v > last {
			newest, last = bin, v
		}
	}
	return newest
})

// folders lists where the programs may be. Debian has them outside of the PATH.
func folders() []string {
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // fails only with a wrong pattern
	if file, err := exec.LookPath("initdb"); err == nil {
		if file, err = filepath.EvalSymlinks(file); err == nil {
			all = append(all, filepath.Dir(file))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		all = append(all, strings.TrimSpace(string(out)))
	}
	return all
}

var versionForm = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// version returns the major version of the server in a folder, or 0 if the folder lacks a
// program or the server is too old.
func version(bin string) int {
	for _, name := range []string{"initdb", "pg_ctl"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return 0
		}
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	m := versionForm.FindSubmatch(out)
	if m == nil {
		return 0
	}
	v, _ := strconv.Atoi(string(m[1])) // 0 on an error
	if v < 13 {
		return 0
	}
	return v
}

// mkdir makes a folder that belongs to the server's user. It is not below the folder of a
// test, which only the test's user can enter.
func (p programs) mkdir() (string, error) {
	folder, err := os.MkdirTemp("", "errand-postgres-")
	if err != nil {
		return "", err
	}
	// The server reports its folder without symbolic links.
	if folder, err = filepath.EvalSymlinks(folder); err == nil {
		err = p.account.own(folder)
	}
	return folder, err
}
