package serve_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"errand/shared/serve"
)

func TestTraceOfARequest(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, test := range []struct{ header, want string }{
		{good, good},
		{"", ""},
		{"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""},
		{good + "-more", ""},
		{good + "\n", ""},
		{"<script>", ""},
	} {
		var got string
		h := serve.Identified(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = serve.Trace(r.Context()) }))
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("traceparent", test.header)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != test.want {
			t.Errorf("traceparent %q gives %q, want %q", test.header, got, test.want)
		}
	}
}
