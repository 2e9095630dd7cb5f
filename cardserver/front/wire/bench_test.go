package wire

import (
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
)

// loadBody is the message that the load client sends, with 100 bytes of text.
var loadBody = []byte(`{"jsonrpc":"2.0","id":12345,"method":"SendMessage","params":{"message":{"messageId":"m-dr2x8k3q9z-12345","role":"ROLE_USER","parts":[{"text":"` +
	strings.Repeat("lorem ipsum ", 9)[:100] + `"}]},"configuration":{"returnImmediately":true}}}`)

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(loadBody)))
	for b.Loop() {
		env, err := parseEnvelope(newCursor(loadBody), loadBody)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := decode(params{text: env.params}, dialect.V1, (*cursor).sendMessage); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeLarge(b *testing.B) {
	body := []byte(strings.Replace(string(loadBody), "lorem", strings.Repeat("lorem ipsum ", 80_000), 1))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		env, err := parseEnvelope(newCursor(body), body)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := decode(params{text: env.params}, dialect.V1, (*cursor).sendMessage); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	at := time.Now()
	text := strings.Repeat("lorem ipsum ", 9)[:100]
	task := &a2a.Task{
		ID: "abcdefghijklmnopqrstuvwxyz", ContextID: "01890a5d-ac96-774b-bcce-b302099a8057",
		Status:    a2a.TaskStatus{State: a2a.TaskStateCompleted, Timestamp: &at},
		History:   []*a2a.Message{{ID: "m-1", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)}}},
		Artifacts: []*a2a.Artifact{{ID: "a-1", Parts: a2a.ContentParts{a2a.NewTextPart(text)}}},
	}
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, _ = dialect.V1.Append(buffer[:0], a2a.StreamResponse{Event: task})
	}
}
