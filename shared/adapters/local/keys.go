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

// KeyFile returns the content of a file that is a secret of this machine. If there is no
// file, KeyFile creates one with the result of fresh. If several processes do so at the same
// time, one of them wins, and all return the same content. The returned content is on the
// disk. KeyFile refuses a file that users other than its owner may read, except on Windows,
// where modes have no meaning.
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
		return secret.Value{}, fmt.Errorf("%s is not a regular file", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return secret.Value{}, fmt.Errorf("%s holds keys, but users other than its owner have access to it (mode %04o): chmod 600 %[1]s", path, info.Mode().Perm())
	case info.Size() > secret.MaxSize:
		return secret.Value{}, fmt.Errorf("%s: %w", path, secret.ErrTooLarge)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return secret.Value{}, err
	}
	v, err := secret.NewValue(content)
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s is empty: restore its content, or remove it to get a fresh one: %w", path, err)
	}
	return v, nil
}

// createKeyFile creates the file with its whole content in one step, unless it exists. The
// name is on the disk afterwards, even if another process created the file.
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
	// Unlike a rename, a link never replaces a file.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(dir)
}

// syncFolder flushes the names in a folder to the disk. Windows has no such call and needs
// none.
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
