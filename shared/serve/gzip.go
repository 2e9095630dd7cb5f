package serve

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// compressFrom is the size above which answers are compressed, in bytes. A smaller one takes
// one packet anyway.
const compressFrom = 1 << 10

// mostCompressing is how many answers wait for a compressor at most, or are in one.
const mostCompressing = 32

// For is the answer as the sender of r takes it: compressed, if it is not small and the sender
// says that it reads gzip. Where many answers wait for a compressor, the next ones go as they
// are: they are made faster than compressed, and each is held meanwhile. Streams have no Answer:
// a compressor would hold their events back.
func (a Answer) For(r *http.Request) Answer {
	if !Compressible(a.Body) {
		return a
	}
	a.varies = true
	if !TakesGzip(r) {
		return a
	}
	select {
	case compressing <- struct{}{}:
		a.Body, a.encoding = Gzip(a.Body), "gzip"
		<-compressing
	default:
	}
	return a
}

// compressing are the answers that wait for a compressor, or are in one.
var compressing = make(chan struct{}, mostCompressing)

// Compressible reports whether an answer is large enough to be compressed.
func Compressible(body []byte) bool { return len(body) > compressFrom }

// TakesGzip reports whether the sender of r reads gzip:
// https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
func TakesGzip(r *http.Request) bool {
	takes, named := false, false
	for _, list := range r.Header["Accept-Encoding"] {
		for entry := range strings.SplitSeq(list, ",") {
			coding, weight, _ := strings.Cut(entry, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				takes, named = positive(weight), true
			case "*":
				takes = takes || !named && positive(weight)
			}
		}
	}
	return takes
}

// positive reports whether the weight of a preference, q=0.5, is not zero.
func positive(weight string) bool {
	_, q, ok := strings.Cut(weight, "=")
	n, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
	return !ok || err != nil || n > 0
}

// Gzip compresses a text.
func Gzip(text []byte) []byte {
	pool := compressors()
	z := <-pool // a compressor takes hundreds of KiB
	defer func() { pool <- z }()
	var b bytes.Buffer
	z.Reset(&b)
	_, _ = z.Write(text) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// compressors are as many as run at once.
var compressors = sync.OnceValue(func() chan *gzip.Writer {
	n := runtime.GOMAXPROCS(0)
	pool := make(chan *gzip.Writer, n)
	for range n {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one
		pool <- z
	}
	return pool
})
