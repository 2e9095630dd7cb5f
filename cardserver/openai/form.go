package openai

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"

	"errand/cardserver/api"
	"errand/shared/uploads"
)

// Limits of a form.
const (
	formRoom = 64 << 10 // bytes of a form beside the content of its file
	maxField = 256      // bytes of a field that is no file
)

// Fields of a form.
const (
	fileField    = "file"
	purposeField = "purpose"
	anchorField  = "expires_after[anchor]"
	secondsField = "expires_after[seconds]"
)

// A form is the body of an upload. It reads as the content of its file, of which nothing is held.
// The fields may come before the file or behind it: the content has no end before the whole form
// has turned out to be right. So whoever takes the content takes nothing of a form that is wrong.
type form struct {
	bounded *bounded
	parts   *multipart.Reader
	fields  map[string]string
	file    *multipart.Part // being read
	name    string          // of the file
	done    error           // how the form ended; nil: it has not
}

// newForm begins to read a body, up to the file in it.
func newForm(h http.Header, body io.Reader) (*form, error) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, invalid(fileField, codeMissing, "must come in a form: send the request as multipart/form-data")
	}
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &api.Problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Encoding is not supported: send the form as it is"}
	}

	f := &form{bounded: &bounded{r: body, left: formRoom}, fields: map[string]string{}}
	f.parts = multipart.NewReader(f.bounded, params["boundary"])
	switch err := f.next(); {
	case errors.Is(err, io.EOF):
		return nil, missing(fileField)
	case err != nil:
		return nil, err
	}
	if _, ok := f.fields[purposeField]; ok { // before 2 GB are read
		return f, f.check()
	}
	return f, nil
}

func missing(param string) error {
	return &api.Problem{Status: http.StatusBadRequest, Field: param, Code: codeMissing, Detail: "the parameter " + param + " is required"}
}

// Read implements io.Reader.
func (f *form) Read(p []byte) (int, error) {
	if f.done != nil {
		return 0, f.done
	}
	n, err := f.file.Read(p)
	f.bounded.left += int64(n)
	if errors.Is(err, io.EOF) {
		err = f.end()
	} else if err != nil {
		err = f.broken(err)
	}
	f.done = err
	return n, err
}

// end reads what is behind the file. It returns io.EOF if the form is right.
func (f *form) end() error {
	switch err := f.next(); {
	case err == nil:
		return invalid(fileField, codeValue, "stands there twice: upload one file at a time")
	case !errors.Is(err, io.EOF):
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, f.bounded); err != nil {
		return f.broken(err)
	}
	return io.EOF
}

// next reads fields up to the next file. io.EOF: there is none.
func (f *form) next() error {
	for {
		part, err := f.parts.NextPart()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return f.broken(err)
		}

		name := part.FormName()
		switch name {
		case fileField:
			f.file, f.name = part, part.FileName()
			return nil
		case purposeField, anchorField, secondsField:
		default:
			return unknown(name, fileField, purposeField, anchorField, secondsField)
		}

		if _, again := f.fields[name]; again {
			return invalid(name, codeValue, "stands there twice")
		}
		text, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return f.broken(err)
		}
		if len(text) > maxField {
			return invalid(name, codeValue, fmt.Sprintf("has more than %d bytes", maxField))
		}
		f.fields[name] = string(text)
	}
}

// broken is the error of a form that cannot be read. If its body could not be read, that is the
// reason: see [api.Body].
func (f *form) broken(err error) error {
	if errors.Is(err, errRoom) {
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the form has more than %d bytes beside its file", formRoom)}
	}
	return &api.Problem{Status: http.StatusBadRequest, Detail: "the body is no whole form of the type multipart/form-data"}
}

// Bounds of the time after which OpenAI lets a file end.
const minExpiry, maxExpiry = 3600, 2592000 // seconds

// check checks the fields.
func (f *form) check() error {
	purpose, ok := f.fields[purposeField]
	switch {
	case !ok:
		return missing(purposeField)
	case purpose != uploads.Batch:
		return invalid(purposeField, codeValue, "must be "+uploads.Batch+": this agent takes files for batches here")
	}

	anchor, has := f.fields[anchorField]
	text, hasSeconds := f.fields[secondsField]
	if !has && !hasSeconds {
		return nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil {
		seconds = 0
	}
	return checkExpiry("expires_after", anchor, seconds)
}

// checkExpiry checks when a client wants a file to end.
func checkExpiry(param, anchor string, seconds int) error {
	if anchor != "created_at" || seconds < minExpiry || seconds > maxExpiry {
		return invalid(param, codeValue, fmt.Sprintf("must have the anchor created_at and from %d to %d seconds", minExpiry, maxExpiry))
	}
	return nil
}

var errRoom = errors.New("openai: the form is too large")

// A bounded reader reads so many bytes at most. It bounds the memory that headers and fields take.
type bounded struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errRoom
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
