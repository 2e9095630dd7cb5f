// Package frames is a client of HTTP/2 without TLS that does what a test tells it, and nothing
// that a client should: it opens no windows, and reads only when it is told to.
package frames

import (
	"bytes"
	"net"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A Client is one connection.
type Client struct {
	*http2.Framer
	conn    net.Conn
	header  bytes.Buffer
	encoder *hpack.Encoder
	next    uint32
	answers map[uint32]*Answer
}

// An Answer is what has arrived of the answer to one request.
type Answer struct {
	Status int // 0: none yet
	Header map[string]string
	Body   []byte
	Ended  bool          // wholly, or by a reset
	Reset  http2.ErrCode // the reason of a reset; NO_ERROR too if there was none
}

// New greets the server on a connection. window is how many bytes of each answer the client
// takes.
func New(c net.Conn, window uint32) (*Client, error) {
	f := &Client{Framer: http2.NewFramer(c, c), conn: c, next: 1, answers: map[uint32]*Answer{}}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.encoder = hpack.NewEncoder(&f.header)
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	return f, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
}

// Ask begins a request, and returns the id of its stream. fields are names and values. Without a body the request is whole.
func (f *Client) Ask(method, path string, body bool, fields ...string) (id uint32, err error) {
	return f.AskHost("127.0.0.1", method, path, body, fields...)
}

// AskHost is Ask of a host.
func (f *Client) AskHost(host, method, path string, body bool, fields ...string) (id uint32, err error) {
	f.header.Reset()
	id, f.next = f.next, f.next+2
	f.answers[id] = &Answer{Header: map[string]string{}}
	all := append([]string{":method", method, ":scheme", "http", ":authority", host, ":path", path}, fields...)
	for i := 0; i < len(all); i += 2 {
		if err := f.encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}); err != nil {
			return 0, err
		}
	}

	const most = 16 << 10 // bytes of a frame
	first, rest := f.header.Bytes(), []byte(nil)
	if len(first) > most {
		first, rest = first[:most], first[most:]
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: !body, EndHeaders: rest == nil}); err != nil || rest == nil {
		return id, err
	}
	return id, f.WriteContinuation(id, true, rest)
}

// Answer is the answer to a request, as far as it has been read.
func (f *Client) Answer(id uint32) *Answer { return f.answers[id] }

// Read reads one frame.
func (f *Client) Read() error {
	frame, err := f.ReadFrame()
	if err != nil {
		return err
	}

	a := f.answers[frame.Header().StreamID]
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			return f.WriteSettingsAck()
		}
	case *http2.MetaHeadersFrame:
		for _, h := range frame.Fields {
			a.Header[h.Name] = h.Value
		}
		a.Status, _ = strconv.Atoi(frame.PseudoValue("status"))
		a.Ended = frame.StreamEnded()
	case *http2.DataFrame:
		a.Body = append(a.Body, frame.Data()...)
		a.Ended = frame.StreamEnded()
	case *http2.RSTStreamFrame:
		a.Ended, a.Reset = true, frame.ErrCode
	}
	return nil
}

// End reads until the answer to a request has ended.
func (f *Client) End(id uint32) (*Answer, error) {
	for !f.answers[id].Ended {
		if err := f.Read(); err != nil {
			return f.answers[id], err
		}
	}
	return f.answers[id], nil
}
