package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"errand/shared/batch"
)

// A manifest is the file of a batch, which can be read again.
type manifest struct {
	path    string
	size    int64
	dispose func() // removes a copy
}

// openManifest looks at the file. Standard input and pipes are copied first, because the agent
// may have to be sent them twice.
func openManifest(path string, in io.Reader) (*manifest, error) {
	name, stdin := path, path == "-"
	if stdin {
		name = "standard input"
	} else {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			return nil, fmt.Errorf("%s is a folder; a batch is one file with a line for each message", path)
		case info.Mode().IsRegular():
			m := &manifest{path: path, size: info.Size(), dispose: func() {}}
			return m, m.check(name)
		}

		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}

	m, err := spool(in)
	if err != nil {
		return nil, fmt.Errorf("copying %s: %w", name, err)
	}
	if err := m.check(name); err != nil {
		m.dispose()
		return nil, err
	}
	return m, nil
}

// spool copies a stream into a file of its own.
func spool(in io.Reader) (*manifest, error) {
	file, err := os.CreateTemp("", "errand-batch-")
	if err != nil {
		return nil, err
	}
	m := &manifest{path: file.Name(), dispose: func() { _ = os.Remove(file.Name()) }}
	m.size, err = io.Copy(file, io.LimitReader(in, batch.MaxManifest+1))
	if err := errors.Join(err, file.Close()); err != nil {
		m.dispose()
		return nil, err
	}
	return m, nil
}

func (m *manifest) check(name string) error {
	switch {
	case m.size == 0:
		return fmt.Errorf("%s is empty; a batch has a line of JSON for each message", name)
	case m.size > batch.MaxManifest:
		return fmt.Errorf("%s has %d bytes, and a batch at most %d: split it", name, m.size, int64(batch.MaxManifest))
	}
	return nil
}

// linesType is the media type of a manifest.
const linesType = "application/jsonl"

// typed says what the content is of a request that does not have it.
func (m *manifest) typed(h http.Header) { h.Set("Content-Type", linesType) }

// sum is the SHA-256 of the manifest.
func (m *manifest) sum() (string, error) {
	file, err := os.Open(m.path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, io.LimitReader(file, m.size))
	return hex.EncodeToString(hash.Sum(nil)), err
}

// content is the manifest as the body of a request. A bar shows how much of it is sent.
func (m *manifest) content(b *bar) *content {
	return &content{
		open: func() (io.ReadCloser, error) {
			file, err := os.Open(m.path)
			if err != nil {
				return nil, err
			}
			return &sending{io.LimitReader(file, m.size), file, b.sending(m.size)}, nil
		},
		size: m.size, mediaType: linesType,
	}
}

// A sending is a file on its way.
type sending struct {
	io.Reader
	io.Closer
	sent func(n int)
}

// Read implements io.Reader.
func (s *sending) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.sent(n)
	return n, err
}
