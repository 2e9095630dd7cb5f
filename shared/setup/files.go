package setup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"errand/shared/adapters/gcp"
	"errand/shared/adapters/local"
	"errand/shared/files"
)

// filesSpec is ERRAND_FILES. Its default is a folder beside the SQLite file. Without SQLite
// there is no default, and filesSpec is empty.
func (e Env) filesSpec() string {
	if path, embedded := e.file(); e.Files == "" && embedded {
		return "file:" + path + ".files"
	}
	return e.Files
}

// files checks ERRAND_FILES. The first use of the store creates the folder, or the client of
// the service. keys sign URLs of files in a folder.
func (o *opening) files(to **files.Store, keys func(context.Context) ([][]byte, error)) {
	open, err := placeOf(o.env, keys)
	if err != nil {
		o.note(fmt.Errorf("ERRAND_FILES: %w", err))
		return
	}
	*to = files.New(open, time.Now)
	o.closes(*to)
}

// placeOf reads the spec of the place of files.
func placeOf(e Env, keys func(context.Context) ([][]byte, error)) (func(context.Context) (files.Place, error), error) {
	spec := e.filesSpec()
	kind, details, _ := strings.Cut(spec, ":")

	switch {
	case spec == "":
		return nil, errors.New("without SQLite there is no folder beside it: set ERRAND_FILES=file:FOLDER, or ERRAND_FILES=gs:BUCKET on Google Cloud")
	case kind == "file" && e.CloudRun():
		return nil, errors.New("a folder does not survive on Cloud Run (K_SERVICE is set), whose disk is memory: set ERRAND_FILES=gs:BUCKET")
	case kind == "file" && !e.Local():
		return nil, errors.New("a folder belongs to one process, and with a managed queue there are three: set ERRAND_FILES=gs:BUCKET")
	case kind == "file" && details != "":
		return folder(e, details, keys)
	case kind == "gs" && details != "":
		return bucket(details)
	}

	return nil, fmt.Errorf("%q is not known; use file:FOLDER, gs:BUCKET or gs:BUCKET/PREFIX", kind)
}

func folder(e Env, dir string, keys func(context.Context) ([][]byte, error)) (func(context.Context) (files.Place, error), error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := local.CheckFolder(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Dir(dir)); e.Files != "" && err != nil {
		return nil, fmt.Errorf("the folder in which %s is to be cannot be used: create it or name another one: %w", dir, err)
	}
	c := local.FolderConfig{Dir: dir, Keys: keys}
	at := e.URL
	if at == "" {
		at = e.loopback()
	}
	if at != "" {
		if c.URL, err = url.Parse(at + files.Path); err != nil {
			return nil, err
		}
	}
	return func(context.Context) (files.Place, error) { return local.OpenFolder(c) }, nil
}

// fileKeys returns the keys of signed URLs, for files in a folder.
func (s *Sealing) fileKeys(ctx context.Context) ([][]byte, error) {
	ring, err := s.Keys.Ring(ctx)
	if err != nil {
		return nil, err
	}
	return ring.Files(time.Now()), nil
}

// bucket parses BUCKET[/PREFIX][@HOST:PORT].
func bucket(details string) (func(context.Context) (files.Place, error), error) {
	name, endpoint, _ := strings.Cut(details, "@")
	c := gcp.BucketConfig{Endpoint: endpoint}
	c.Bucket, c.Prefix, _ = strings.Cut(name, "/")
	if err := c.Check(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (files.Place, error) { return gcp.OpenBucket(ctx, c) }, nil
}
