package card

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"errand/shared/agent"
	lab "errand/shared/lab/agent"
)

// TestHostsAreBounded is inside the package because the memory that a
// stranger's Host headers would take cannot be seen from outside.
func TestHostsAreBounded(t *testing.T) {
	a, err := agent.Parse(lab.Definition)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Agent: a, Modified: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * maxHosts {
		r := httptest.NewRequest(http.MethodGet, Path, nil)
		r.Host = fmt.Sprintf("localhost:%d", 1024+i)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("GET with Host %s = %d, want 200", r.Host, w.Code)
		}
	}
	if len(h.hosts) != maxHosts {
		t.Errorf("cards kept = %d, want %d", len(h.hosts), maxHosts)
	}
}
