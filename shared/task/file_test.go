package task_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A part names a file by data with its id and nothing else, or by a URL of which that is noted.
// It does so as it is sent and as it is stored.
func TestFileIn(t *testing.T) {
	const id = "file-abcdefghijklmnopqrstuvw234"
	url := a2a.NewFileURLPart("https://agent.example/x", "")
	noted := a2a.NewFileURLPart("https://agent.example/x", "")
	task.NameFile(noted, id)
	raw := a2a.NewRawPart([]byte("x"))
	task.NameFile(raw, id)
	other := a2a.NewFileURLPart("https://agent.example/x", "")
	task.NameFile(other, "a.png")

	for name, tt := range map[string]struct {
		part *a2a.Part
		want bool
	}{
		"a URL":           {url, false},
		"a noted URL":     {noted, true},
		"another note":    {other, false},
		"a content":       {raw, false},
		"text":            {a2a.NewTextPart(id), false},
		"data":            {a2a.NewDataPart(map[string]any{"file": id}), true},
		"stored data":     {&a2a.Part{Content: a2a.Data{Value: json.RawMessage(`{"file":"` + id + `"}`)}}, true},
		"large data":      {&a2a.Part{Content: a2a.Data{Value: json.RawMessage(`{"file":"` + strings.Repeat(" ", 1000) + id + `"}`)}}, false},
		"more than an id": {a2a.NewDataPart(map[string]any{"file": id, "page": 1.0}), false},
		"no id":           {a2a.NewDataPart(map[string]any{"file": "a.png"}), false},
		"a longer id":     {a2a.NewDataPart(map[string]any{"file": id + "a"}), false},
		"another id":      {a2a.NewDataPart(map[string]any{"file": strings.ToUpper(id)}), false},
		"a list":          {a2a.NewDataPart([]any{id}), false},
		"null":            {a2a.NewDataPart(nil), false},
		"nothing":         {nil, false},
		"no content":      {&a2a.Part{}, false},
	} {
		if got, ok := task.FileIn(tt.part); ok != tt.want || ok && got != id {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}
