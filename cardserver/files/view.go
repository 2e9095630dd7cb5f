package files

import (
	"net/http"
	"time"

	"errand/shared/uploads"
)

// A view is a file as its owner sees it.
type view struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"` // of its content; messages name the file by it
	Name      string    `json:"name,omitempty"`
	Purpose   string    `json:"purpose,omitempty"`
	MediaType string    `json:"mediaType"`
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"`
	Created   time.Time `json:"created"`
}

func (a *API) view(r *http.Request, f uploads.File) view {
	return view{
		ID: f.ID, URL: ContentURL(a.base(r), f.ID), Name: f.Name, Purpose: f.Purpose, MediaType: f.MediaType,
		Size: f.Size, SHA256: f.SHA256, Created: f.Created,
	}
}

// A begunView is a file whose content is to come.
type begunView struct {
	ID       string     `json:"id"`
	Upload   uploadView `json:"upload"`
	Complete string     `json:"complete"` // the path to post to when the content has been sent
}

// An uploadView is the request by which the content is sent. It has exactly these headers.
type uploadView struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Expires time.Time         `json:"expires"` // it must have begun before
}

type listView struct {
	Files []view `json:"files"`
	Next  string `json:"nextPageToken"` // empty: the list ends here
}
