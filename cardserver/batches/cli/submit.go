package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"errand/shared/batch"
)

// jsonOf is a JSON body.
func jsonOf(v any) *content {
	text, err := json.Marshal(v)
	if err != nil { // it is made of texts and numbers
		panic(err)
	}
	return &content{
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
		size: int64(len(text)), mediaType: "application/json",
	}
}

// inRequest is how large a manifest may be that is sent to the agent itself: Cloud Run takes
// requests of 32 MiB.
const inRequest = 31 << 20

// submit submits the manifest, or finds the batch of an earlier submission. A submission that
// is not answered is sent again, which changes nothing.
func (j *job) submit(ctx context.Context) (v view, err error) {
	if strings.HasPrefix(j.File, "gs://") {
		return j.submitNamed(ctx, j.File)
	}
	m, err := openManifest(j.File, j.In)
	if err != nil {
		return v, &refusal{say: err.Error()}
	}
	defer m.dispose()

	if m.size > inRequest {
		v, err = j.submitLarge(ctx, m)
		if no, ok := errors.AsType[*refusal](err); !ok || no.status != http.StatusNotImplemented {
			return v, err
		}
	}
	return v, j.agent.ask(ctx, request{method: http.MethodPost, url: j.agent.at(j.options(), "batches"), body: m.content(j.bar)}, &v)
}

// submitNamed submits a manifest that the agent has, or can read.
func (j *job) submitNamed(ctx context.Context, input string) (v view, err error) {
	body := map[string]any{"input": input}
	for name, values := range j.options() {
		body[name] = values[0]
	}
	if j.budget != nil {
		body["budget"] = j.budget
	}
	return v, j.agent.ask(ctx, request{method: http.MethodPost, url: j.agent.at(nil, "batches"), body: jsonOf(body)}, &v)
}

// submitLarge sends a manifest past the agent and submits it then. If the newest batches have
// one of this manifest, it needs not be sent, and one that was stopped goes on. The refusal has the status 501 if the agent keeps
// its files itself.
func (j *job) submitLarge(ctx context.Context, m *manifest) (view, error) {
	v, err := j.find(ctx, m)
	if err == nil && v.stopped() { // the agent knows how it goes on
		v, err = j.submitNamed(ctx, v.Input.File)
		if no, refused := errors.AsType[*refusal](err); refused && no.status == http.StatusBadRequest { // the file is gone
			v, err = view{}, nil
		}
	}
	if err != nil || v.ID != "" {
		return v, err
	}

	for try := 1; ; try++ {
		id, err := j.send(ctx, m)
		if err == nil {
			return j.submitNamed(ctx, id)
		}
		// A signed request is over after an hour, and some storages take it only once.
		if no, refused := errors.AsType[*refusal](err); !refused || !no.foreign || try == sends {
			return view{}, err
		}
	}
}

// sends is how often a manifest is sent by signed requests that the storage refuses.
const sends = 3

// find looks for a batch of the manifest among the newest ones. Whether it is the same in all
// else, only a submission tells: then none is found.
func (j *job) find(ctx context.Context, m *manifest) (view, error) {
	sum, err := m.sum()
	if err != nil {
		return view{}, &refusal{say: err.Error()}
	}
	var list struct {
		Batches []view `json:"batches"`
	}
	newest := j.agent.at(url.Values{"pageSize": {"100"}}, "batches")
	if err := j.agent.ask(ctx, request{method: http.MethodGet, url: newest}, &list); err != nil {
		return view{}, err
	}

	for _, v := range list.Batches {
		if v.Name == cmp.Or(j.Name, sum) && v.Input.SHA256 == sum && v.OnBadLine == cmp.Or(j.OnBadLine, batch.Refuse) && j.budget.Equal(v.Budget) {
			return v, nil
		}
	}
	return view{}, nil
}

// send sends the manifest by a signed request, and returns the id of the file.
func (j *job) send(ctx context.Context, m *manifest) (id string, err error) {
	var begun struct {
		ID     string `json:"id"`
		Upload struct {
			Method  string            `json:"method"`
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
		} `json:"upload"`
	}
	q := url.Values{"upload": {"signed"}, "purpose": {"batch"}, "size": {strconv.FormatInt(m.size, 10)}}
	if err := j.agent.ask(ctx, request{method: http.MethodPost, url: j.agent.at(q, "files"), header: m.typed}, &begun); err != nil {
		return "", err
	}

	content := m.content(j.bar)
	content.mediaType = ""
	put := request{method: begun.Upload.Method, url: begun.Upload.URL, body: content, foreign: true, header: func(h http.Header) {
		for name, value := range begun.Upload.Headers {
			h.Set(name, value)
		}
	}}
	err = j.agent.do(ctx, put, func(*http.Response) error { return nil })

	// It is there if a try before was taken whose answer was lost.
	if no, refused := errors.AsType[*refusal](err); err != nil && !(refused && no.status == http.StatusPreconditionFailed) {
		return "", err
	}
	complete := request{method: http.MethodPost, url: j.agent.at(nil, "files", begun.ID+":complete")}
	return begun.ID, j.agent.ask(ctx, complete, &struct{}{})
}
