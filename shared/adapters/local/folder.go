package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/fileblob"

	"errand/shared/files"
)

// FolderConfig configures a folder for files on this machine. Dir is required.
type FolderConfig struct {
	Dir string

	// URL is the address of files.Store.Handler. Without it no URL can be signed.
	URL *url.URL

	// Keys returns the keys of signed URLs. The first key signs, and all keys verify.
	Keys func(context.Context) ([][]byte, error)
}

// File modes in the folder, independent of the umask.
const (
	folderMode = 0o700
	fileMode   = 0o600
)

// OpenFolder opens a folder as the place of a files.Store, and creates it if necessary. No
// other process may write to the folder meanwhile.
//
// A put calls fsync four times: for the bytes of the content, for its folder, and for both
// of the info. After a power loss a file is therefore whole, in the new or the old version,
// if the disk honors fsync. Like a kill, a power loss can leave orphans: a content without
// an info, or a temporary file that ends in .tmp. A deletion without an answer may be
// undone.
func OpenFolder(c FolderConfig) (files.Place, error) {
	root, err := filepath.Abs(c.Dir)
	if err != nil {
		return files.Place{}, fmt.Errorf("finding %s: %w", c.Dir, err)
	}
	if err := makeFolder(root); err != nil {
		return files.Place{}, fmt.Errorf("making the folder of files: %w", err)
	}
	if err := CheckFolder(root); err != nil {
		return files.Place{}, err
	}
	signer := urlSigner{c.URL, c.Keys}
	bucket, err := fileblob.OpenBucket(root, &fileblob.Options{
		NoTempDir:   true, // rename does not work between disks
		Metadata:    fileblob.MetadataDontWrite,
		DirFileMode: folderMode,
		URLSigner:   signer,
	})
	if err != nil {
		return files.Place{}, fmt.Errorf("opening the folder of files: %w", err)
	}
	return files.Place{Bucket: bucket, Close: bucket.Close, Disk: &disk{root: root}, Verify: signer.KeyFromURL}, nil
}

// CheckFolder returns an error if a path cannot be a folder for files. A missing folder is
// no error.
func CheckFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("checking the folder of files: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is no folder: name another one", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is for private files, but users other than its owner have access to it (mode %04o): name a folder that is for nothing else, or run chmod 700 %[1]s if this one is", path, info.Mode().Perm())
	}
	return nil
}

// A disk adds modes, durability and tidiness to the driver of a folder.
type disk struct {
	root string

	// tree guards empty folders: Create holds it until a new folder has a file, and Settle
	// while it removes empty folders.
	tree sync.Mutex
}

var _ files.Disk = (*disk)(nil)

func (d *disk) path(key string) string { return filepath.Join(d.root, filepath.FromSlash(key)) }

// Create implements files.Disk.
func (d *disk) Create(key string, o *blob.WriterOptions, open func() (*blob.Writer, error)) (*blob.Writer, func() error, error) {
	d.tree.Lock()
	defer d.tree.Unlock()
	if err := makeFolder(filepath.Dir(d.path(key))); err != nil {
		return nil, nil, err
	}
	var f *os.File
	o.BeforeWrite = func(as func(any) bool) error {
		if !as(&f) {
			return errors.New("the driver of the folder does not show its file")
		}
		return f.Chmod(fileMode)
	}
	w, err := open()
	return w, func() error { return f.Sync() }, err
}

// Settle implements files.Disk.
func (d *disk) Settle(key string) error {
	dir := filepath.Dir(d.path(key))
	if err := syncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.tree.Lock()
	defer d.tree.Unlock()
	for ; dir != d.root; dir = filepath.Dir(dir) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break // not empty
		}
	}
	return nil
}

// Clear implements files.Disk.
func (d *disk) Clear(folder string) error {
	d.tree.Lock()
	err := os.RemoveAll(d.path(folder))
	d.tree.Unlock()
	if err != nil {
		return err
	}
	return d.Settle(folder)
}

// makeFolder creates a private folder, and missing ones above it, and flushes their names to
// the disk.
func makeFolder(path string) error {
	err := os.Mkdir(path, folderMode)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFolder(filepath.Dir(path)); err == nil {
			err = os.Mkdir(path, folderMode)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(path, folderMode)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return err
}

// A urlSigner signs the URLs of files in a folder, with keys that rotate.
type urlSigner struct {
	url  *url.URL
	keys func(context.Context) ([][]byte, error)
}

var _ fileblob.URLSigner = urlSigner{}

// URLFromKey implements fileblob.URLSigner.
func (s urlSigner) URLFromKey(ctx context.Context, key string, o *driver.SignedURLOptions) (*url.URL, error) {
	if s.url == nil {
		return nil, errors.New("the agent's address for clients is unknown: set ERRAND_URL")
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return nil, err
	}
	return fileblob.NewURLSignerHMAC(s.url, keys[0]).URLFromKey(ctx, key, o)
}

// signed is the number of parameters of a signed URL.
const signed = 4

// KeyFromURL implements fileblob.URLSigner. It accepts a URL only in its original spelling.
// gocloud compares decoded parameters, which have many spellings.
func (s urlSigner) KeyFromURL(ctx context.Context, u *url.URL) (string, error) {
	q := u.Query()
	if s.url == nil || u.RawQuery != q.Encode() || strings.Count(u.RawQuery, "&") != signed-1 || q.Get("method") != http.MethodGet {
		return "", files.ErrSignature
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		if object, err := fileblob.NewURLSignerHMAC(s.url, key).KeyFromURL(ctx, u); err == nil {
			return object, nil
		}
	}
	return "", files.ErrSignature
}
