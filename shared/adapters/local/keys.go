package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"errand/shared/secret"
)

// KeyFile is the content of a file that is a secret of this machine. If there is none,
// it is made with what fresh returns; of several processes that do so at once one
// wins, and all return the same. What is returned is on the disk. A file that others
// than its owner may read is refused, except on Windows, where modes say nothing.
func KeyFile(path string, fresh func() (string, error)) (secret.Value, error) {
	v, err := readKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	content, err := fresh()
	if err != nil {
		return secret.Value{}, fmt.Errorf("making %s: %w", path, err)
	}
	if err := createKeyFile(path, content); err != nil {
		return secret.Value{}, fmt.Errorf("making %s: %w", path, err)
	}
	return readKeyFile(path)
}

func readKeyFile(path string) (secret.Value, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return secret.Value{}, err
	case !info.Mode().IsRegular(): // opening a pipe would wait
		return secret.Value{}, fmt.Errorf("%s is no file", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return secret.Value{}, fmt.Errorf("%s holds keys and others than its owner may read it (mode %04o): chmod 600 %[1]s", path, info.Mode().Perm())
	case info.Size() > secret.MaxSize:
		return secret.Value{}, fmt.Errorf("%s: %w", path, secret.ErrTooLarge)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return secret.Value{}, err
	}
	v, err := secret.NewValue(content)
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s is empty: put back what was in it, or remove it for a fresh one: %w", path, err)
	}
	return v, nil
}

// createKeyFile makes the file with all its content at once, unless there is one. Both
// it and the name of one that another process has made are on the disk afterwards.
func createKeyFile(path, content string) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// A link never replaces a file, as a rename would.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(dir)
}

// syncFolder brings the names in a folder to the disk. Windows has no such call and
// needs none.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
