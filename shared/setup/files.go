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

// openFiles checks ERRAND_FILES. The first use of the store creates the folder, or the client
// of the service.
func (p *Parts) openFiles(e Env) error {
	spec := e.filesSpec()
	kind, details, _ := strings.Cut(spec, ":")
	var open func(context.Context) (files.Place, error)
	var err error

	switch {
	case spec == "":
		return errors.New("ERRAND_FILES: without SQLite there is no folder beside it: set ERRAND_FILES=file:FOLDER, or ERRAND_FILES=gs:BUCKET on Google Cloud")
	case kind == "file" && e.CloudRun():
		return errors.New("ERRAND_FILES: a folder does not survive on Cloud Run (K_SERVICE is set), whose disk is memory: set ERRAND_FILES=gs:BUCKET")
	case kind == "file" && !e.Local():
		return errors.New("ERRAND_FILES: a folder is one process's own, and with a managed queue there are three: set ERRAND_FILES=gs:BUCKET")
	case kind == "file" && details != "":
		open, err = p.folder(e, details)

	case kind == "gs" && details != "":
		open, err = bucket(details)
	default:
		err = fmt.Errorf("%q is not known; use file:FOLDER, gs:BUCKET or gs:BUCKET/PREFIX", kind)
	}

	if err != nil {
		return fmt.Errorf("ERRAND_FILES: %w", err)
	}

	p.Files = files.New(open, time.Now)
	p.closers = append(p.closers, p.Files)
	return nil
}

func (p *Parts) folder(e Env, dir string) (func(context.Context) (files.Place, error), error) {
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
	c := local.FolderConfig{Dir: dir, Keys: p.fileKeys}
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
func (p *Parts) fileKeys(ctx context.Context) ([][]byte, error) {
	ring, err := p.Keys.Ring(ctx)
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
