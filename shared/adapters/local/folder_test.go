package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"

	"errand/shared/adapters/local"
	"errand/shared/files"
	"errand/shared/lab/conformance"
)

// keysOf returns fixed keys for signed URLs.
func keysOf(keys ...string) func(context.Context) ([][]byte, error) {
	var all [][]byte
	for _, k := range keys {
		all = append(all, []byte(k))
	}
	return func(context.Context) ([][]byte, error) { return all, nil }
}

// folder returns a store in a folder, with a server for its URLs.
func folder(t *testing.T, c local.FolderConfig) *files.Store {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	var err error
	if c.URL, err = url.Parse(srv.URL + files.Path); err != nil {
		t.Fatal(err)
	}
	if c.Keys == nil {
		c.Keys = keysOf("secret")
	}
	s := files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(c) }, time.Now)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	mux.Handle(files.Path, s.Handler())
	return s
}

// tree returns the paths of everything in a folder. Folders end in a slash.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path == dir {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if err == nil {
			name := filepath.ToSlash(strings.TrimPrefix(path, dir+string(filepath.Separator)))
			if d.IsDir() {
				name += "/"
			}
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestFolderKeepsTheLaws(t *testing.T) {
	conformance.Files(t, func(t *testing.T) conformance.FilesBench {
		dir := filepath.Join(t.TempDir(), "x.files")
		path := func(object string) string { return filepath.Join(dir, filepath.FromSlash(object)) }
		return conformance.FilesBench{
			Files: folder(t, local.FolderConfig{Dir: dir}),
			Objects: func() []string { // and empty folders, which should not exist
				all := tree(t, dir)
				return slices.DeleteFunc(slices.Clone(all), func(name string) bool {
					return strings.HasSuffix(name, "/") && slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(other, name) && other != name })
				})
			},
			Read: func(object string) []byte {
				content, err := os.ReadFile(path(object))
				if err != nil {
					t.Fatal(err)
				}
				return content
			},
			Write: func(object string, content []byte) {
				if err := os.WriteFile(path(object), content, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			Fetch: http.Get,
			Arrived: func() (n int64) {
				for _, name := range tree(t, dir) {
					if info, err := os.Stat(path(name)); err == nil && !info.IsDir() {
						n += info.Size()
					}
				}
				return n
			},
			Hidden: []string{dir, filepath.Base(dir)},
		}
	})
}

// The first use creates the folder. Empty folders in it are removed.
func TestFolderIsMadeAndTidied(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	s := folder(t, local.FolderConfig{Dir: dir})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there before it is used: %v", err)
	}

	for _, name := range []string{"tasks/1/a/b/c", "tasks/1/a/d", "tasks/2/e"} {
		if _, err := s.Put(t.Context(), files.Upload{Name: name}, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}

	if err := s.Delete(t.Context(), "tasks/1/a/b/c"); err != nil {
		t.Fatal(err)
	}

	folders := func() []string {
		return slices.DeleteFunc(tree(t, dir), func(name string) bool { return !strings.HasSuffix(name, "/") })
	}
	if got, want := folders(), []string{"tasks/", "tasks/1/", "tasks/1/a/", "tasks/2/"}; !slices.Equal(got, want) {
		t.Errorf("after Delete there are %q, want %q", got, want)
	}
	if err := s.DeleteAll(t.Context(), "tasks/1"); err != nil {
		t.Fatal(err)
	}
	if got, want := folders(), []string{"tasks/", "tasks/2/"}; !slices.Equal(got, want) {
		t.Errorf("after DeleteAll there are %q, want %q", got, want)
	}

	if err := s.Delete(t.Context(), "tasks/2/e"); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("in the end there are %q, want nothing", got)
	}

	// A removed folder is created again.
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), files.Upload{Name: "a"}, strings.NewReader("a")); err != nil {
		t.Errorf("Put after the folder was removed = %v", err)
	}
}

// Concurrent puts and deletes create and remove their folder, and no put fails.
func TestFoldersComeAndGoAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	s := folder(t, local.FolderConfig{Dir: dir})
	errs := make(chan error)
	const many, times = 8, 50
	for i := range many {
		go func() {
			var err error
			name := fmt.Sprintf("a/b/f%d", i)
			for range times {
				_, put := s.Put(t.Context(), files.Upload{Name: name}, strings.NewReader(name))
				err = errors.Join(err, put, s.Delete(t.Context(), name))
			}
			errs <- err
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("in the end there are %q, want nothing", got)
	}
}

// Settle does not remove a folder in which Create is about to begin a file.
func TestFolderOfANewFileStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	p, err := local.OpenFolder(local.FolderConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}

	settled := make(chan error, 1)

	w, _, err := p.Disk.Create("a/f", &blob.WriterOptions{}, func() (*blob.Writer, error) {
		go func() { settled <- p.Disk.Settle("a/g") }()
		select {
		case err := <-settled: // too early
			settled <- err
		case <-time.After(50 * time.Millisecond):
		}

		_, err := os.Stat(filepath.Join(dir, "a"))
		return nil, err
	})
	if w != nil || err != nil {
		t.Errorf("in Create the folder is gone: %v", err)
	}

	if err := <-settled; err != nil {
		t.Errorf("Settle = %v", err)
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("after Settle there is %q, want no empty folder", got)
	}
}

// A watched reports the calls to a disk.
type watched struct {
	files.Disk
	say func(string)
}

func (w watched) Create(key string, o *blob.WriterOptions, open func() (*blob.Writer, error)) (*blob.Writer, func() error, error) {
	w.say("create " + key)
	out, sync, err := w.Disk.Create(key, o, open)
	return out, func() error { w.say("sync " + key); return sync() }, err
}

func (w watched) Settle(key string) error { w.say("settle " + key); return w.Disk.Settle(key) }

// Put flushes bytes before their name, and the content before the info.
func TestFolderBringsFilesToTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	var said []string

	s := files.New(func(context.Context) (files.Place, error) {
		p, err := local.OpenFolder(local.FolderConfig{Dir: dir})
		p.Disk = watched{p.Disk, func(what string) {
			verb, key, _ := strings.Cut(what, " ")
			_, err := os.Stat(filepath.Join(dir, key))
			if !strings.HasSuffix(key, "+info") {
				key = "content"
			}
			said = append(said, fmt.Sprint(verb, " ", key, " ", err == nil))
		}}

		return p, err
	}, time.Now)
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("f")); err != nil {
		t.Fatal(err)
	}

	if err := s.Delete(t.Context(), "d/f"); err != nil {
		t.Fatal(err)
	}

	want := []string{ // with: does the object exist under its name?
		"create content false", "sync content false", "settle content true",
		"create d/f+info false", "sync d/f+info false", "settle d/f+info true",
		"settle d/f+info false",
	}
	if !slices.Equal(said, want) {
		t.Errorf("the calls to the disk are %q, want %q", said, want)
	}

	// sync calls fsync, which a pipe refuses.
	p, err := local.OpenFolder(local.FolderConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var o blob.WriterOptions

	_, sync, err := p.Disk.Create("a", &o, func() (*blob.Writer, error) {
		return nil, o.BeforeWrite(func(to any) bool { *to.(**os.File) = w; return true })
	})
	if err != nil {
		t.Skipf("the mode of a pipe cannot be set here: %v", err)
	}
	if err := sync(); err == nil {
		t.Error("written bytes are not flushed to the disk")
	}
}

// A failing is a disk with errors at some keys.
type failing struct {
	files.Disk
	create, sync, settle string // the end of the key
}

var errDisk = errors.New("the disk is full")

func (f *failing) Create(key string, o *blob.WriterOptions, open func() (*blob.Writer, error)) (*blob.Writer, func() error, error) {
	if f.create != "" && strings.HasSuffix(key, f.create) {
		return nil, nil, errDisk
	}
	w, sync, err := f.Disk.Create(key, o, open)
	if f.sync != "" && strings.HasSuffix(key, f.sync) {
		sync = func() error { return errDisk }
	}
	return w, sync, err
}

func (f *failing) Settle(key string) error {
	if f.settle != "" && strings.HasSuffix(key, f.settle) {
		return errDisk
	}
	return f.Disk.Settle(key)
}

// A refused commit keeps the old file and leaves no orphan. A commit whose last fsync fails
// returns an error, and the file is whole.
func TestFolderThatDoesNotCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	disk := &failing{}
	s := files.New(func(context.Context) (files.Place, error) {
		p, err := local.OpenFolder(local.FolderConfig{Dir: dir})
		disk.Disk = p.Disk
		p.Disk = disk
		return p, err
	}, time.Now)

	put := func(name, content string) error {
		_, err := s.Put(t.Context(), files.Upload{Name: name, Owner: content}, strings.NewReader(content))
		return err
	}
	if err := put("d/f", "old"); err != nil {
		t.Fatal(err)
	}

	before := tree(t, dir)
	for _, refuse := range []*string{&disk.create, &disk.sync} {
		*refuse = "+info"
		for _, name := range []string{"d/f", "d/g"} {
			if err := put(name, "new"); !errors.Is(err, errDisk) {
				t.Errorf("Put = %v, want the disk's error", err)
			}
		}

		*refuse = ""
		if left := tree(t, dir); !slices.Equal(left, before) {
			t.Errorf("there is %q, want only %q", left, before)
		}
	}

	disk.settle = "+info"
	if err := put("d/f", "new"); !errors.Is(err, errDisk) {
		t.Errorf("Put = %v, want the disk's error", err)
	}

	disk.settle = ""
	info, r, err := s.Get(t.Context(), "d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != info.Owner {
		t.Errorf("Get = %q of %q, %v, want a whole file", got, info.Owner, err)
	}
}

// A cancellation before the commit leaves nothing. A later cancellation has no effect.
func TestFolderFinishesACommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	var on string
	var cancel func()

	s := files.New(func(context.Context) (files.Place, error) {
		p, err := local.OpenFolder(local.FolderConfig{Dir: dir})
		p.Disk = watched{p.Disk, func(what string) {
			if strings.HasPrefix(what, on) {
				cancel()
			}
		}}

		return p, err
	}, time.Now)

	for _, row := range []struct {
		on   string
		want error
	}{{"settle d/f+", context.Canceled}, {"create d/f+info", nil}, {"sync d/f+info", nil}, {"settle d/f+info", nil}} {
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		on = row.on
		if _, err := s.Put(ctx, files.Upload{Name: "d/f"}, strings.NewReader("f")); !errors.Is(err, row.want) {
			t.Errorf("Put that is cancelled at %q = %v, want %v", row.on, err, row.want)
		}

		cancel()
		want := 3 // the folder, the content, the info
		if row.want != nil {
			want = 0
		}
		if _, err := s.Stat(t.Context(), "d/f"); (err == nil) != (row.want == nil) || len(tree(t, dir)) != want {
			t.Errorf("after Put that was cancelled at %q there is %q, %v", row.on, tree(t, dir), err)
		}

		on = "never"
		if err := s.DeleteAll(t.Context(), "d"); err != nil {
			t.Error(err)
		}
	}
}

func TestFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "no folder", filepath.Join(file, "x"): "folder"} {
		if _, err := local.OpenFolder(local.FolderConfig{Dir: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenFolder(%s) = %v, want an error that says %q", path, err, want)
		}
	}
}

// A signed URL works only in its original spelling, and as long as the ring has its key.
func TestFolderURLs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	keys := keysOf("old")
	s := folder(t, local.FolderConfig{Dir: dir, Keys: func(ctx context.Context) ([][]byte, error) { return keys(ctx) }})
	content := strings.Repeat("0123456789", 1000)
	info, err := s.Put(t.Context(), files.Upload{Name: "d/f", MediaType: "text/html"}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}

	signed, err := s.Sign(t.Context(), "d/f", time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	ask := func(method, url string, header http.Header) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}

		for name := range header {
			req.Header.Set(name, header.Get(name))
		}

		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}

		return resp, string(body)
	}

	status := func(url string) int {
		t.Helper()
		resp, _ := ask(http.MethodGet, url, nil)
		return resp.StatusCode
	}

	for name, other := range map[string]string{
		"an escape in small letters": strings.Replace(signed, "%2F", "%2f", 1),
		"no escape":                  strings.Replace(signed, "%2F", "/", 1),
		"one parameter more":         signed + "&x=1",
		"one twice":                  signed + "&signature=x",
		"another order":              strings.Replace(signed, "?", "?x=&", 1),
		"no signature":               signed[:strings.Index(signed, "&signature")],
		"nothing":                    signed[:strings.Index(signed, "?")],
	} {
		if got := status(other); other == signed || got != http.StatusForbidden {
			t.Errorf("with %s the URL answers %d, want 403", name, got)
		}
	}

	if got := status(strings.Replace(signed, files.Path+"?", files.Path+"/?", 1)); got == http.StatusOK {
		t.Error("below its path the URL answers 200")
	}

	resp, body := ask(http.MethodGet, signed, nil)
	for name, want := range map[string]string{
		"Content-Type": "text/html", "X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment; filename=f", "Cache-Control": "private, no-cache",
		"ETag": `"` + info.SHA256 + `"`, "Content-Security-Policy": "default-src 'none'; sandbox", "Accept-Ranges": "bytes", "Content-Length": "10000",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}

	if body != content {
		t.Errorf("GET gives %d bytes, want %d", len(body), len(content))
	}
	if resp, body := ask(http.MethodHead, signed, nil); resp.StatusCode != http.StatusOK || body != "" || resp.ContentLength != 10000 {
		t.Errorf("HEAD = %d with %d bytes of %d", resp.StatusCode, len(body), resp.ContentLength)
	}

	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if resp, _ := ask(method, signed, nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s = %d", method, resp.StatusCode)
		}
	}

	for _, row := range []struct {
		header, value string
		status        int
		want          string
	}{
		{"Range", "bytes=5-12", http.StatusPartialContent, content[5:13]},
		{"Range", "bytes=9995-", http.StatusPartialContent, content[9995:]},
		{"Range", "bytes=-3", http.StatusPartialContent, content[9997:]},
		{"Range", "bytes=0-20000", http.StatusPartialContent, content},
		{"Range", "bytes=10000-", http.StatusRequestedRangeNotSatisfiable, ""},
		{"If-None-Match", `"` + info.SHA256 + `"`, http.StatusNotModified, ""},
		{"If-None-Match", `"x"`, http.StatusOK, content},
	} {
		resp, body := ask(http.MethodGet, signed, http.Header{row.header: {row.value}})
		if resp.StatusCode != row.status || row.want != "" && body != row.want {
			t.Errorf("%s: %s = %d with %d bytes, want %d with %d", row.header, row.value, resp.StatusCode, len(body), row.status, len(row.want))
		}
	}

	if resp, body := ask(http.MethodGet, signed, http.Header{"Range": {"bytes=1-2,5-6"}}); resp.StatusCode != http.StatusPartialContent || !strings.Contains(body, "\r\n\r\n12\r\n") || !strings.Contains(body, "\r\n\r\n56\r\n") {
		t.Errorf("two ranges = %d, %q", resp.StatusCode, body)
	}

	keys = keysOf("new", "old")
	if got := status(signed); got != http.StatusOK {
		t.Errorf("beside a new key the URL answers %d", got)
	}

	fresh, err := s.Sign(t.Context(), "d/f", time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	keys = keysOf("new")
	if got := status(signed); got != http.StatusForbidden {
		t.Errorf("without its key the URL answers %d, want 403", got)
	}
	if got := status(fresh); got != http.StatusOK {
		t.Errorf("with the new key the URL answers %d", got)
	}

	keys = func(context.Context) ([][]byte, error) { return nil, errors.New("CANARY") }
	if resp, body := ask(http.MethodGet, fresh, nil); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || strings.Contains(body, "CANARY") {
		t.Errorf("without keys the URL answers %d, %q", resp.StatusCode, body)
	}
	if _, err := s.Sign(t.Context(), "d/f", time.Hour); err == nil {
		t.Error("Sign without keys = nil")
	}
}

// The handler does not serve a damaged file to its end.
func TestFolderURLOfADamagedFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.files")
	s := folder(t, local.FolderConfig{Dir: dir})
	if _, err := s.Put(t.Context(), files.Upload{Name: "f"}, strings.NewReader(strings.Repeat("x", 100_000))); err != nil {
		t.Fatal(err)
	}

	signed, err := s.Sign(t.Context(), "f", time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	content := filepath.Join(dir, tree(t, dir)[0])
	if err := os.WriteFile(content, []byte(strings.Repeat("x", 99_999)+"y"), 0o600); err != nil {
		t.Fatal(err)
	}

	resp, err := http.Get(signed)
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}

	if err == nil {
		t.Error("a damaged file is served to its end")
	}
	if err := os.Remove(content); err != nil {
		t.Fatal(err)
	}

	if resp, err := http.Get(signed); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("the answer for a deleted file is %v, %v, want 404", resp, err)
	} else {
		resp.Body.Close()
	}
}

// Sign without an address names the variable to set.
func TestFolderWithoutURL(t *testing.T) {
	s := files.New(func(context.Context) (files.Place, error) {
		return local.OpenFolder(local.FolderConfig{Dir: filepath.Join(t.TempDir(), "x"), Keys: keysOf("k")})
	}, time.Now)
	if _, err := s.Put(t.Context(), files.Upload{Name: "f"}, strings.NewReader("f")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), "f", time.Hour); err == nil || !strings.Contains(err.Error(), "ERRAND_URL") {
		t.Errorf("Sign = %v, want the variable to set", err)
	}
}
