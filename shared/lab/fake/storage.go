package fake

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"google.golang.org/api/option"
)

// Storage is Cloud Storage in memory. Google's client needs no credentials. Any other
// request needs a signed URL.
type Storage struct {
	Addr string

	server *fakestorage.Server
	key    *rsa.PrivateKey // of account

	uploads sync.Mutex // held by the signed upload that is stored

	mu       sync.Mutex
	calls    []string
	received int64
	fail     Failure
	breaks   Breakage
	reads    []Read
	unsigned int
}

// account is the program's service account, according to the metadata server of Signing.
const account = "errand-cardserver@my-project.iam.gserviceaccount.com"

// StartStorage serves an empty bucket until the test ends.
func StartStorage(t testing.TB, bucket string) *Storage {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &Storage{key: key}
	front := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(front.Close)
	s.Addr = front.Listener.Addr().String()
	s.server, err = fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, ExternalURL: front.URL, PublicHost: s.Addr, Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Stop)
	s.server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	return s
}

// serve checks signatures. The fake behind it does not.
func (s *Storage) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Goog-Api-Client") == "" { // not Google's client
		if err := s.verify(r, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}

	kind, object := call(r)
	s.mu.Lock()
	s.calls = append(s.calls, kind)
	fail := s.fail
	s.mu.Unlock()
	status, lost := 0, false
	if fail != nil {
		status, lost = fail(kind, object)
	}

	r.Body = &counted{r.Body, s}
	serve := s.server.HTTPHandler().ServeHTTP
	if r.Method == http.MethodPut {
		serve = s.put
	}
	if lost {
		serve(httptest.NewRecorder(), r)
	}

	if status != 0 {
		http.Error(w, "failed", status)
		return
	}

	if kind == "read" && r.Header.Get("Authorization") == "" && !strings.HasPrefix(r.URL.Path, "/storage/v1/") {
		w = s.breaking(w, r, object)
	}
	serve(w, r)
}

// A Read is a request for the content of an object.
type Read struct {
	Object     string
	Generation string // empty: the newest
	Range      string // header; empty: all
}

// Reads returns the requests for contents since the last Reads.
func (s *Storage) Reads() []Read {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads := s.reads
	s.reads = nil
	return reads
}

// A Breakage decides about the content that answers a request: after how many bytes it ends;
// below 0: it does not. Then the connection breaks or, if hang is true, stays open without
// another byte for as long as the client waits. It is called concurrently.
type Breakage func(Read) (after int, hang bool)

// Break sets the Breakage; nil: no content breaks off.
func (s *Storage) Break(b Breakage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaks = b
}

// breaking notes the read and returns the writer of its answer.
func (s *Storage) breaking(w http.ResponseWriter, r *http.Request, object string) http.ResponseWriter {
	read := Read{object, r.URL.Query().Get("generation"), r.Header.Get("Range")}
	s.mu.Lock()
	s.reads = append(s.reads, read)
	breaks := s.breaks
	s.mu.Unlock()
	if breaks == nil {
		return w
	}
	if after, hang := breaks(read); after >= 0 {
		return &breakable{ResponseWriter: w, left: after, hang: hang, gone: r.Context().Done()}
	}
	return w
}

// A breakable is a writer that breaks off.
type breakable struct {
	http.ResponseWriter
	left int
	hang bool
	gone <-chan struct{}
}

// Write implements http.ResponseWriter.
func (b *breakable) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	if _, err := b.ResponseWriter.Write(p[:n]); err != nil || n == len(p) {
		return n, err
	}
	_ = http.NewResponseController(b.ResponseWriter).Flush()
	if b.hang {
		<-b.gone
	}
	panic(http.ErrAbortHandler)
}

// put stores the body of a signed request as the XML API does. It requires the headers by which
// an object is stored once, and with as many bytes as were announced.
// https://cloud.google.com/storage/docs/xml-api/put-object-upload
func (s *Storage) put(w http.ResponseWriter, r *http.Request) {
	bucket, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var least, most int64
	if n, err := fmt.Sscanf(r.Header.Get("X-Goog-Content-Length-Range"), "%d,%d", &least, &most); n != 2 || err != nil || r.Header.Get("X-Goog-If-Generation-Match") != "0" {
		http.Error(w, "this upload has no conditions", http.StatusBadRequest)
		return
	}

	content, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return
	case int64(len(content)) < least:
		http.Error(w, "EntityTooSmall", http.StatusBadRequest)
		return
	case int64(len(content)) > most:
		http.Error(w, "EntityTooLarge", http.StatusBadRequest)
		return
	}

	s.uploads.Lock()
	defer s.uploads.Unlock()
	if _, err := s.server.GetObject(bucket, name); err == nil {
		http.Error(w, "PreconditionFailed", http.StatusPreconditionFailed)
		return
	}
	s.server.CreateObject(fakestorage.Object{
		ObjectAttrs: fakestorage.ObjectAttrs{BucketName: bucket, Name: name, ContentType: r.Header.Get("Content-Type"), ContentDisposition: r.Header.Get("Content-Disposition")},
		Content:     content,
	})
}

// A Failure decides about a call, which is read, write, delete, list, copy or upload. A status other
// than 0 is the answer. If lost is true, the service carries the call out first. Failures
// are called concurrently.
type Failure func(call, object string) (status int, lost bool)

// Fail sets the Failure; nil: no call fails.
func (s *Storage) Fail(f Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// call classifies a request and returns the object's name.
func call(r *http.Request) (kind, object string) {
	_, object, ok := strings.Cut(r.URL.Path, "/o/")
	switch {
	case strings.HasPrefix(r.URL.Path, "/upload/"):
		return "write", r.URL.Query().Get("name")
	case strings.Contains(object, "/rewriteTo/"):
		return "copy", object
	case r.Method == http.MethodDelete:
		return "delete", object
	case r.Method == http.MethodPut:
		return "upload", r.URL.Path
	case strings.HasSuffix(r.URL.Path, "/o") && !ok:
		return "list", ""
	}
	_, object, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return "read", object
}

type counted struct {
	io.ReadCloser
	s *Storage
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.received += int64(n)
	return n, err
}

// Calls returns the calls since the last Calls: read, write, delete, list, copy, upload.
func (s *Storage) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// Received returns the number of bytes received in request bodies.
func (s *Storage) Received() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

// RefuseToSign makes IAM answer with this status; 0: IAM signs.
func (s *Storage) RefuseToSign(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsigned = status
}

// Objects returns the names of all objects in the bucket, sorted.
func (s *Storage) Objects(t testing.TB, bucket string) []string {
	t.Helper()
	list, err := s.server.ListObjectsWithOptionsPaginated(bucket, fakestorage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range list.Objects {
		names = append(names, o.Name)
	}
	return names
}

// Object returns an object with its attributes.
func (s *Storage) Object(t testing.TB, bucket, name string) fakestorage.Object {
	t.Helper()
	o, err := s.server.GetObject(bucket, name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Set creates or replaces an object.
func (s *Storage) Set(bucket, name string, content []byte) {
	s.server.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: bucket, Name: name}, Content: content})
}

// SetEncoded is Set with a Content-Encoding.
func (s *Storage) SetEncoded(bucket, name, encoding string, content []byte) {
	s.server.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: bucket, Name: name, ContentEncoding: encoding}, Content: content})
}

// Delete deletes an object.
func (s *Storage) Delete(t testing.TB, bucket, name string) {
	t.Helper()
	if err := s.server.Backend().DeleteObject(bucket, name); err != nil {
		t.Error(err)
	}
}

// Signing runs a metadata server and IAM's signBlob until the test ends. It returns the
// options of IAM's client. asked returns the number of signatures.
func (s *Storage) Signing(t *testing.T) (options []option.ClientOption, asked func() int) {
	t.Helper()
	n := 0

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/email"):
			_, _ = io.WriteString(w, account)

		case r.URL.Path == "/v1/projects/-/serviceAccounts/"+account+":signBlob":
			s.mu.Lock()
			n++
			refuse := s.unsigned
			s.mu.Unlock()
			if refuse != 0 {
				http.Error(w, "refused", refuse)
				return
			}
			s.sign(w, r)

		default:
			http.NotFound(w, r)
		}
	}))

	t.Cleanup(srv.Close)
	t.Setenv("GCE_METADATA_HOST", srv.Listener.Addr().String())
	return []option.ClientOption{option.WithEndpoint(srv.URL), option.WithoutAuthentication()}, func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return n
	}
}

func (s *Storage) sign(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Payload []byte `json:"payload"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sum := sha256.Sum256(req.Payload)
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"keyId":"1","signedBlob":%q}`, base64.StdEncoding.EncodeToString(signature))
}

const (
	v4        = "GOOG4-RSA-SHA256"
	v4Time    = "20060102T150405Z"
	v4Longest = 7 * 24 * time.Hour
)

// verify returns an error unless the request has a valid V4 signature.
// https://cloud.google.com/storage/docs/authentication/signatures
func (s *Storage) verify(r *http.Request, now time.Time) error {
	q := r.URL.Query()
	at, err := time.Parse(v4Time, q.Get("X-Goog-Date"))
	if err != nil {
		return err
	}

	seconds, err := strconv.Atoi(q.Get("X-Goog-Expires"))
	lifetime := time.Duration(seconds) * time.Second
	scope := at.Format("20060102") + "/auto/storage/goog4_request"

	switch {
	case err != nil || lifetime < 0 || lifetime > v4Longest:
		return errors.New("no lifetime")
	case now.Before(at.Add(-15*time.Minute)) || now.After(at.Add(lifetime)):
		return errors.New("not now")
	case q.Get("X-Goog-Algorithm") != v4 || q.Get("X-Goog-Credential") != account+"/"+scope:
		return errors.New("not signed by " + account)
	}

	signature, err := hex.DecodeString(q.Get("X-Goog-Signature"))
	if err != nil || strings.ToLower(q.Get("X-Goog-Signature")) != q.Get("X-Goog-Signature") {
		return errors.New("no signature")
	}

	q.Del("X-Goog-Signature")
	signed := q.Get("X-Goog-SignedHeaders")
	headers, err := signedHeaders(r, strings.Split(signed, ";"))
	if err != nil {
		return err
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), strings.ReplaceAll(q.Encode(), "+", "%20"), headers, signed, "UNSIGNED-PAYLOAD"}, "\n")
	hashed := sha256.Sum256([]byte(canonical))
	text := sha256.Sum256([]byte(strings.Join([]string{v4, q.Get("X-Goog-Date"), scope, hex.EncodeToString(hashed[:])}, "\n")))

	return rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, text[:], signature)
}

// signedHeaders returns the headers that are signed, one a line. The host is one of them, and so
// is every one of Google's.
func signedHeaders(r *http.Request, names []string) (lines string, err error) {
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-goog-") && !slices.Contains(names, lower) {
			return "", fmt.Errorf("the header %s is not signed", name)
		}
	}
	if !slices.Contains(names, "host") || !slices.IsSorted(names) {
		return "", errors.New("the host is not signed")
	}
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value, _, _ = net.SplitHostPort(r.Host) // Google's own host has no port
		}
		lines += name + ":" + value + "\n"
	}
	return lines, nil
}
