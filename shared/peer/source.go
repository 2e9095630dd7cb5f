package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"errand/shared/card"
)

// A Reader reads a card. before is the last copy, or zero: a reader that learns that it is still
// the newest need not bring it again.
type Reader func(ctx context.Context, before Copy) (Copy, error)

// A Copy is a card as it was read.
type Copy struct {
	Doc    []byte
	Tag    string        // its ETag; empty: it has none
	MaxAge time.Duration // how long its sender lets it be kept
	Origin string        // the origin that sent it, scheme://host; empty: the operator gave it

	// Doubtful says that others than the operator and the agent chose what it says: credentials
	// go by it only if it is signed.
	Doubtful bool

	same bool // it is the copy before
}

// keep is how long the copy is used before it is read again.
func (c Copy) keep() time.Duration { return min(max(c.MaxAge, leastKept), mostKept) }

// maxDoc bounds a card, in bytes: no agent needs as much.
const maxDoc = 256 << 10

// Text is a card that is there already: in a variable of the environment or a secret. get gives
// it as it is now.
func Text(get func(context.Context) (string, error)) Reader {
	return func(ctx context.Context, _ Copy) (Copy, error) {
		text, err := get(ctx)
		return Copy{Doc: []byte(text)}, err
	}
}

// InFile reads the card in a file.
func InFile(path string) Reader {
	return func(context.Context, Copy) (Copy, error) {
		f, err := os.Open(path)
		if err != nil {
			return Copy{}, err
		}
		defer f.Close()
		doc, err := limited(f)
		return Copy{Doc: doc}, err
	}
}

// AtURL reads the card of the agent at an address, or at the card's own one, which ends with
// .json. sign adds the credentials of the reader to a request; nil: none.
func AtURL(address string, client Doer, sign func(*http.Request) error) Reader {
	if u, err := url.Parse(address); err == nil && !strings.HasSuffix(u.Path, ".json") {
		address = strings.TrimRight(address, "/") + card.Path
	}
	return func(ctx context.Context, before Copy) (Copy, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return Copy{}, fmt.Errorf("the address of a card: %w", err)
		}
		req.Header.Set("Accept", "application/json")
		if before.Tag != "" {
			req.Header.Set("If-None-Match", before.Tag)
		}
		if sign != nil {
			if err := sign(req); err != nil {
				return Copy{}, err
			}
		}
		return fetch(client, req, before)
	}
}

// origin is the scheme and the host of a URL, with a port if it is not the scheme's own.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"https": ":443", "http": ":80"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + host
}

func fetch(client Doer, req *http.Request, before Copy) (Copy, error) {
	res, err := client.Do(req)
	if err != nil {
		return Copy{}, err
	}
	defer res.Body.Close()
	age := maxAge(res.Header.Values("Cache-Control"))

	switch {
	case res.StatusCode == http.StatusNotModified && before.Tag != "":
		before.MaxAge, before.same = age, true
		return before, nil
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return Copy{}, errors.New("the card is said to be elsewhere: give the address to which it has moved")
	case res.StatusCode != http.StatusOK:
		return Copy{}, fmt.Errorf("the address of the card is answered %d", res.StatusCode)
	}
	doc, err := limited(res.Body)
	return Copy{Doc: doc, Tag: res.Header.Get("ETag"), MaxAge: age, Origin: origin(req.URL)}, err
}

// limited reads a card, and refuses what goes on without end.
func limited(in io.Reader) ([]byte, error) {
	doc, whole, err := readUpTo(in, maxDoc)
	if err == nil && !whole {
		err = fmt.Errorf("%w: it has more than %d KiB", ErrNoCard, maxDoc>>10)
	}
	return doc, err
}

// readUpTo reads so many bytes at most. whole is false if there are more.
func readUpTo(in io.Reader, most int64) (text []byte, whole bool, err error) {
	text, err = io.ReadAll(io.LimitReader(in, most+1))
	return text, int64(len(text)) <= most, err
}

var maxAgeIs = regexp.MustCompile(`(?i)(?:^|[,\s])max-age="?([0-9]{1,9})`)

// maxAge is the time in a Cache-Control (RFC 9111); zero if it has none or forbids a cache.
func maxAge(values []string) time.Duration {
	text := strings.Join(values, ",")
	if strings.Contains(strings.ToLower(text), "no-store") || strings.Contains(strings.ToLower(text), "no-cache") {
		return 0
	}
	found := maxAgeIs.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	seconds, err := strconv.Atoi(found[1])
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
