// Package files is the door to the files of callers: upload one, see it, read it, delete it. It is
// our own HTTP+JSON beside A2A. Messages and batches name files by their ids and URLs.
//
// It stores nothing: package uploads does. Callers see their own files only, and a foreign one
// does not exist.
package files

import (
	"context"
	_ "embed"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"errand/cardserver/api"
	"errand/cardserver/fault"
	"errand/shared/auth"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/serve"
	"errand/shared/uploads"
)

// Config is what the API needs. All fields but URL and Enter are required.
type Config struct {
	Uploads *uploads.Store
	Batches *batchdesk.Desk // which files may be deleted
	Access  *auth.Access    // who may call
	Log     *slog.Logger

	URL string // where clients reach the agent; empty: where they sent the request

	// Enter takes a place for a long answer of the caller, which leave gives back. The error is
	// a refusal. Default: there is always one.
	Enter func(owner string) (leave func(), err error)
}

// An API is the handler of all operations. It is safe for concurrent use.
type API struct {
	*api.Handler
	cfg Config
}

//go:embed openapi.yaml
var description []byte

// Path is where the API is, and DescriptionPath where its description is.
const (
	Path            = "/files"
	DescriptionPath = Path + "/openapi.yaml"
)

// operations are all rows, by method and path. The description names the same.
func (a *API) operations() map[string]api.Operation {
	return map[string]api.Operation{
		"POST /files":                 {Right: auth.Send, Changes: true, Serve: a.upload},
		"GET /files":                  {Right: auth.Read, Serve: a.list},
		"GET /files/{file}":           {Right: auth.Read, Serve: a.get},
		"GET /files/{file}/content":   {Right: auth.Read, Serve: a.content},
		"POST /files/{file}:complete": {Right: auth.Send, Changes: true, Serve: a.complete},
		"DELETE /files/{file}":        {Right: auth.Cancel, Changes: true, Serve: a.delete},
	}
}

// New makes the API.
func New(cfg Config) *API {
	cfg.Enter = api.OrAlways(cfg.Enter)
	a := &API{cfg: cfg}
	a.Handler = api.New(api.Config{
		Operations: a.operations(), Access: cfg.Access, Describe: fault.Files, Log: cfg.Log,
		Description: description, DescribedAt: DescriptionPath,
	})
	return a
}

// ContentURL is the URL of a file that messages and batches name it by. base is where clients
// reach the agent.
func ContentURL(base, id string) string { return base + Path + "/" + id + "/content" }

// base is where the caller reaches the agent.
func (a *API) base(r *http.Request) string {
	if a.cfg.URL != "" {
		return a.cfg.URL
	}
	return serve.Base(r)
}

// upload stores the body as a file of the caller, or begins an upload past the program.
func (a *API) upload(q *api.Call) error {
	query, err := q.Query("name", "purpose", "upload", "size")
	if err != nil {
		return err
	}
	u := uploads.Upload{Name: query.Get("name"), Purpose: query.Get("purpose"), MediaType: q.Header.Get("Content-Type")}
	if err := checkHeaders(q.Header); err != nil {
		return err
	}
	switch {
	case query.Get("upload") == "signed":
		return a.begin(q, u, query)
	case query.Has("upload"):
		return api.Invalid("upload", "must be signed, or left out")
	case query.Has("size"):
		return api.Invalid("size", "is for upload=signed: the body has its own size")
	case q.ContentLength == 0:
		return api.Invalid("body", "is empty: it must be the content of the file")
	}

	f, err := a.receive(q, u)
	if err != nil {
		return err
	}
	return a.created(q, http.StatusCreated, f)
}

// receive stores the body as a file.
func (a *API) receive(q *api.Call, u uploads.Upload) (f uploads.File, err error) {
	u.Size = max(q.ContentLength, 0)
	err = q.Receive(uploads.MaxSize(u.Purpose), func(ctx context.Context, body io.Reader) (err error) {
		f, err = a.cfg.Uploads.Create(ctx, q.Caller.Owner, u, body)
		return err
	})
	return f, err
}

// checkHeaders refuses a body that is not the file itself.
func checkHeaders(h http.Header) error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return unsupported("Content-Encoding", "is not supported: send the file as it is")
	}
	if kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")); kind == "multipart/form-data" {
		return unsupported("Content-Type", "is that of a form: send the file itself as the body")
	}
	return nil
}

func unsupported(header, what string) error {
	return &api.Problem{Status: http.StatusUnsupportedMediaType, Detail: header + " " + what, Field: header}
}

// begin answers with a request by which the caller sends the content to the service of the files.
func (a *API) begin(q *api.Call, u uploads.Upload, query url.Values) (err error) {
	most := uploads.MaxSize(u.Purpose)
	if u.Size, err = strconv.ParseInt(query.Get("size"), 10, 64); err != nil || u.Size < 1 {
		return api.Invalid("size", "must be the bytes of the content, from 1 to "+strconv.FormatInt(most, 10))
	}
	if q.ContentLength != 0 {
		return api.Invalid("body", "must be empty: the content is sent to the URL in the answer")
	}

	id, signed, err := a.cfg.Uploads.Begin(q.Context(), q.Caller.Owner, u)
	if err != nil {
		return err
	}
	v := begunView{ID: id, Complete: Path + "/" + id + ":complete"}
	v.Upload = uploadView{Method: signed.Method, URL: signed.URL, Headers: map[string]string{}, Expires: signed.Expires}
	for name := range signed.Header {
		v.Upload.Headers[name] = signed.Header.Get(name)
	}
	return q.JSON(http.StatusAccepted, v)
}

// complete makes a file of what was sent to the service.
func (a *API) complete(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	f, err := a.cfg.Uploads.Complete(q.Context(), q.Caller.Owner, q.PathValue("file"))
	if err != nil {
		return err
	}
	return a.created(q, http.StatusOK, f)
}

func (a *API) created(q *api.Call, status int, f uploads.File) error {
	q.W.Header().Set("Location", Path+"/"+f.ID)
	return q.JSON(status, a.view(q.Request, f))
}

// The sizes of a page of the list, in files.
const (
	pageSize = 20
	maxPage  = uploads.MaxList
)

// list lists the caller's files, in no order of time.
func (a *API) list(q *api.Call) error {
	query, err := q.Query("pageSize", "pageToken")
	if err != nil {
		return err
	}
	limit, err := api.Number(query, "pageSize", pageSize, maxPage)
	if err != nil {
		return err
	}
	after := query.Get("pageToken") // an id of the caller's: a made-up one shows nothing but files of its own
	if after != "" && !uploads.IsID(after) {
		return api.Invalid("pageToken", "is not the nextPageToken of this list; begin again without it")
	}

	page, err := a.cfg.Uploads.List(q.Context(), q.Caller.Owner, after, limit)
	if err != nil {
		return err
	}
	out := listView{Files: []view{}}
	for _, f := range page {
		out.Files = append(out.Files, a.view(q.Request, f))
	}
	if len(page) == limit {
		out.Next = page[limit-1].ID
	}
	return q.JSON(http.StatusOK, out)
}

func (a *API) get(q *api.Call) error {
	f, err := a.find(q)
	if err != nil {
		return err
	}
	return q.JSON(http.StatusOK, a.view(q.Request, f))
}

// find reads about the file that a request without parameters is about.
func (a *API) find(q *api.Call) (uploads.File, error) {
	if _, err := q.Query(); err != nil {
		return uploads.File{}, err
	}
	return a.cfg.Uploads.Find(q.Context(), q.Caller.Owner, q.PathValue("file"))
}

func (a *API) delete(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	if err := a.cfg.Batches.DeleteFile(q.Context(), q.Caller.Owner, q.PathValue("file")); err != nil {
		return err
	}
	return q.Nothing()
}

// content sends a file or parts of it. Browsers save it and do not show it, because its type
// is what its owner says.
func (a *API) content(q *api.Call) error {
	f, err := a.find(q)
	if err != nil {
		return err
	}
	leave, err := a.cfg.Enter(q.Caller.Owner)
	if err != nil {
		return err
	}
	defer leave()

	ctx, release := a.cfg.Access.Hold(q.Context())
	defer release()
	content := files.Seek(f.Size, func(offset int64) (io.ReadCloser, error) {
		_, r, err := a.cfg.Uploads.Open(ctx, f.Owner, f.ID, offset, -1)
		return r, err
	})
	defer content.Close()

	h := q.W.Header()
	h.Set("Content-Type", f.MediaType)
	h.Set("Content-Disposition", attachment(f))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("ETag", `"`+f.SHA256+`"`)
	http.ServeContent(q.Patiently(), q.Request, "", f.Created, content)
	return nil
}

// attachment is a Content-Disposition with the name of the file, or its id.
func attachment(f uploads.File) string {
	name := f.Name
	if name == "" {
		name = f.ID
	}
	if text := mime.FormatMediaType("attachment", map[string]string{"filename": name}); text != "" {
		return text
	}
	return "attachment"
}
