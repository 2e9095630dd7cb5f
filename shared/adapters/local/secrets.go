package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"errand/shared/secret"
)

// Env reads secrets from environment variables: the secret api-key from API_KEY. A running
// process does not see changes.
type Env struct {
	Lookup func(variable string) (string, bool) // os.LookupEnv
}

var _ secret.Source = Env{}

// Get implements secret.Source.
func (e Env) Get(_ context.Context, ref secret.Ref) (secret.Value, error) {
	if err := ref.Check(); err != nil {
		return secret.Value{}, err
	}
	name := strings.ToUpper(strings.ReplaceAll(ref.Name, "-", "_"))
	content, ok := e.Lookup(name)
	if !ok || content == "" {
		return secret.Value{}, fmt.Errorf("secret %s: %w: set the variable %s", ref, secret.ErrNotFound, name)
	}
	v, err := secret.NewValue([]byte(content))
	if err != nil {
		return secret.Value{}, fmt.Errorf("secret %s: %w: variable %s", ref, err, name)
	}
	return v, nil
}

// Files reads secrets from the files in a folder, such as mounted volumes: the secret NAME
// from the file NAME or, if NAME is a folder, from its file latest. Every Get reads the file
// again, because a mounted volume may change at any time.
type Files struct {
	Dir string
}

var _ secret.Source = Files{}

// Get implements secret.Source.
func (f Files) Get(_ context.Context, ref secret.Ref) (secret.Value, error) {
	if err := ref.Check(); err != nil {
		return secret.Value{}, err
	}
	v, err := f.read(ref)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", secret.ErrNotFound, err)
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("secret %s: %w; it is read from %s/%s or %[3]s/%[4]s/latest", ref, err, f.Dir, ref.Name)
	}
	return v, nil
}

func (f Files) read(ref secret.Ref) (secret.Value, error) {
	dir, err := os.OpenRoot(f.Dir) // does not follow a link out of the folder
	if err != nil {
		return secret.Value{}, err
	}
	defer dir.Close()
	path := ref.Name
	info, err := dir.Stat(path)

	if err == nil && info.IsDir() {
		path += "/latest"
		info, err = dir.Stat(path)
	}

	if err != nil {
		return secret.Value{}, err
	}

	if !info.Mode().IsRegular() { // opening a pipe would wait
		return secret.Value{}, fmt.Errorf("%w: %s is not a regular file", secret.ErrNotFound, path)
	}

	file, err := dir.Open(path)
	if err != nil {
		return secret.Value{}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, secret.MaxSize+1))
	if err != nil {
		return secret.Value{}, err
	}

	return secret.NewValue(content)
}
