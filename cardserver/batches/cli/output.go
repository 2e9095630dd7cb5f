package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// An output is where a file of results goes. A file appears whole, under its name, or not at
// all.
type output struct {
	w    io.Writer
	part *os.File // nil: w is not ours
	path string   // that part becomes
}

// openOutput opens an output before anything is sent, so that a wrong name is known early.
// Without a path it is w.
func openOutput(path string, w io.Writer) (*output, error) {
	if path == "" {
		return &output{w: w}, nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}

	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, fmt.Errorf("%s is a folder; name a file in it", path)
		}
		file, err := os.OpenFile(path, os.O_WRONLY, 0) // a pipe or a device
		return &output{w: file}, err
	}

	part, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	return &output{w: part, part: part, path: path}, nil
}

// commit makes the file appear.
func (o *output) commit() error {
	if o.part == nil {
		return nil
	}
	part := o.part
	err := errors.Join(part.Sync(), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), o.path)
	}
	if err == nil {
		o.part = nil
	}
	return err
}

// discard removes what was not committed.
func (o *output) discard() {
	if o != nil && o.part != nil {
		_ = o.part.Close()
		_ = os.Remove(o.part.Name())
		o.part = nil
	}
}
