package serve_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/serve"
)

func TestAnswerHasTheHeadersItNeeds(t *testing.T) {
	for _, row := range []struct {
		answer serve.Answer
		want   http.Header
	}{
		{serve.Answer{Status: 200, Type: "application/json", Body: []byte("{}")},
			http.Header{"Content-Type": {"application/json"}, "Content-Length": {"2"}}},
		{serve.Answer{Status: 429, Type: "text/plain", RetryAfter: 1100 * time.Millisecond},
			http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"0"}, "Retry-After": {"2"}}},
		{serve.Answer{Status: 401, Type: "text/plain", Body: []byte("who?"), Challenge: "Bearer"},
			http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"4"}, "Www-Authenticate": {"Bearer"}}},
	} {
		w := httptest.NewRecorder()
		row.answer.Write(w)
		if diff := cmp.Diff(row.want, w.Header()); diff != "" || w.Code != row.answer.Status || w.Body.String() != string(row.answer.Body) {
			t.Errorf("%d %q, headers (-want +got):\n%s", w.Code, w.Body, diff)
		}
	}
}
