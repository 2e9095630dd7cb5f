package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"errand/cardserver/api"
	"errand/shared/auth"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/share"
	"errand/shared/task"
	"errand/shared/uploads"
)

// ofFiles are what callers are told of the errors of uploads and files. An error is compared with
// them in this order.
var ofFiles = []struct {
	is    error
	fault error
}{
	{uploads.ErrNotFound, &api.Problem{Status: http.StatusNotFound, Detail: uploads.ErrNotFound.Error()}},
	{uploads.ErrAwaited, &api.Problem{Status: http.StatusConflict, Detail: uploads.ErrAwaited.Error()}},
	{uploads.ErrName, &api.Problem{Status: http.StatusBadRequest, Detail: uploads.ErrName.Error(), Field: "name"}},
	{uploads.ErrPurpose, &api.Problem{Status: http.StatusBadRequest, Detail: uploads.ErrPurpose.Error(), Field: "purpose"}},
	{uploads.ErrFiles, auth.Limited("files", time.Minute, uploads.ErrFiles.Error())},

	{files.ErrNoContent, &api.Problem{Status: http.StatusConflict, Detail: "the content of this file has not been sent, or not to its end: send it to the URL that you were given"}},
	{files.ErrNoSigning, &api.Problem{Status: http.StatusNotImplemented, Detail: "this agent keeps files itself: send the content as the body of POST /files, whatever its size", Field: "upload"}},
	{files.ErrMediaType, &api.Problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Type is not a media type: use TYPE/SUBTYPE, such as application/pdf", Field: "Content-Type"}},
	{files.ErrTooLarge, &api.Problem{
		Status: http.StatusRequestEntityTooLarge, Field: "body",
		Detail: fmt.Sprintf("a file has %d bytes at most, and a manifest of a batch (purpose=%s) %d", int64(uploads.MaxFile), uploads.Batch, int64(uploads.MaxManifest)),
	}},

	{share.ErrOwn, auth.Limited("memory", time.Second, "too many uploads of yours are in progress; wait for one of them")},
	{share.ErrFull, &api.Problem{Status: http.StatusServiceUnavailable, Detail: "too many uploads are in progress; try again", After: time.Second}},
	{task.ErrFull, full},
	{syscall.ENOSPC, full},
	{context.DeadlineExceeded, &api.Problem{Status: http.StatusRequestTimeout, Detail: fmt.Sprintf("the body did not arrive within %v", uploads.Within), Field: "body"}},
}

// full is the answer while the disk is.
var full = &api.Problem{Status: http.StatusInsufficientStorage, Detail: "there is no room on the disk, and nothing of the file is stored; try again later", After: time.Minute}

// Files turns an error of package uploads, or of the deletion of a file, into one for the caller, as [Of] does.
func Files(err error) error {
	if f, ok := errors.AsType[*uploads.FullError](err); ok {
		return auth.Limited("stored", time.Minute, f.Error())
	}
	if use, ok := errors.AsType[*batchdesk.InUseError](err); ok {
		return &api.Problem{Status: http.StatusConflict, Detail: use.Error()}
	}
	for _, f := range ofFiles {
		if errors.Is(err, f.is) {
			return f.fault
		}
	}
	return nil
}
