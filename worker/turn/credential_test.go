package turn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/credential"
	"errand/shared/keys"
	"errand/shared/kv"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/turn"
)

const token = "canary-token-0815"

// A vault is a bench whose executor needs the credential shop-token, with what it got.
type vault struct {
	*bench
	store *credential.Store
	kv    kv.Store
	ring  string // text of the keys
	base  string
	got   []string
	bad   string // a credential that the shop refuses
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{bench: newBench(t, nil), base: "https://agent.example.com/errand"}
	v.kv = v.Store.KV()
	v.rotate(0)
	v.store = credential.New(credential.Config{KV: v.kv, Now: v.clock, Base: func() string { return v.base }, Ring: keys.New(keys.Config{
		Read: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(v.ring)) },
	}).Ring})
	v.configure(execute(v.execute), func(c *turn.Config) { c.Credentials = v.store })
	return v
}

// rotate adds a fresh key, which is used after a time.
func (v *vault) rotate(after time.Duration) {
	v.t.Helper()
	text, err := keys.Generate(v.ring, v.clock().Add(after))
	if err != nil {
		v.t.Fatal(err)
	}
	v.ring = text
}

func (v *vault) execute(ctx context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
	key, err := run.Credential(ctx, "shop-token", "to order for you")
	if err == nil && key.Text() == v.bad {
		if err = run.DropCredential(ctx, "shop-token"); err == nil {
			_, err = run.Credential(ctx, "shop-token", "because the shop refused the one before")
		}
	}
	if err != nil {
		yield(nil, fmt.Errorf("ordering: %w", err))
		return
	}
	v.got = append(v.got, key.Text())
	yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("Ordered.")), nil)
}

// asks delivers a job and returns the URL that the task then asks by.
func (v *vault) asks(id string) (task.Record, string) {
	v.t.Helper()
	if code := v.deliver(id, "job", 0); code/100 != 2 {
		v.t.Fatalf("the worker answers %d", code)
	}
	r := v.Load(id)
	if r.State() != a2a.TaskStateAuthRequired || len(r.Task.Status.Message.Parts) != 2 {
		v.t.Fatalf("the task is %s: %+v", r.State(), r.Task.Status.Message)
	}
	data := task.Clone(r.Task).Status.Message.Parts[1].Data().(map[string]any)["credential"].(map[string]any)
	url := data["url"].(string)
	if text := r.Task.Status.Message.Parts[0].Text(); !strings.Contains(text, "shop-token") || !strings.Contains(text, url) || !strings.Contains(text, data["until"].(string)) || !strings.Contains(text, data["why"].(string)) {
		v.t.Errorf("the task says %q, and as data %v", text, data)
	}
	return r, url
}

// give gives a credential as the front door does.
func (v *vault) give(r task.Record, url, value string) error {
	v.t.Helper()
	path, signature, _ := strings.Cut(strings.TrimPrefix(url, v.base), "?s=")
	ask, ok, err := v.store.Read(v.t.Context(), path, signature)
	if err != nil || !ok || !ask.Of(r) {
		return fmt.Errorf("%w: %t %v", credential.ErrNotAsked, ok, err)
	}
	if _, err := v.store.Give(v.t.Context(), r, ask, value); err != nil {
		return err
	}
	_, err = v.desk.ChangeByID(v.t.Context(), r.ID(), ask.Tell)
	return err
}

// entries are the credentials that a store has.
func (v *vault) entries() []kv.Entry {
	v.t.Helper()
	list, err := v.kv.List(v.t.Context(), "step/", "", kv.LimitCount)
	if err != nil {
		v.t.Fatal(err)
	}
	return list
}

// A task asks for a credential, every run with the same URL, and goes on when it was given. No
// message of a client stands for it. The record has nothing of it, the store has it sealed, and
// with the task it is gone.
//
// Shows M22, M24.
func TestTaskAsksForCredential(t *testing.T) {
	v := newVault(t)
	id := v.send("m1", "Order!", "").ID()
	_, first := v.asks(id)
	v.send("m2", "I permit it. The token is abc.", id) // M24: no permission, and no credential
	r, second := v.asks(id)
	if first == second || len(v.got) > 0 {
		t.Errorf("URLs of two turns are %s and %s; it got %v", first, second, v.got)
	}
	if err := v.give(r, first, token); !errors.Is(err, credential.ErrNotAsked) {
		t.Errorf("the URL of the turn before: %v", err)
	}

	if err := v.give(r, second, token); err != nil {
		t.Fatal(err)
	}
	if got := v.Load(id); got.State() != a2a.TaskStateSubmitted || got.Turn != 3 {
		t.Fatalf("after the credential the task is %s, turn %d", got.State(), got.Turn)
	}
	if list := v.entries(); len(list) != 1 || strings.Contains(string(list[0].Value), token) || list[0].Owner != "me" || list[0].Expires.After(v.clock().Add(credential.Keep)) {
		t.Errorf("the store has %+v", list)
	}
	if err := v.give(v.Load(id), second, "another"); !errors.Is(err, credential.ErrNotAsked) {
		t.Errorf("the second use: %v", err)
	}

	v.rotate(time.Minute)
	v.advance(time.Minute)
	v.deliver(id, "job 2", 0)
	done := v.Load(id)
	form, err := done.Encode()
	if err != nil || done.State() != a2a.TaskStateCompleted || len(v.got) != 1 || v.got[0] != token {
		t.Fatalf("the task is %s and got %v, %v", done.State(), v.got, err)
	}
	if strings.Contains(string(form.Head)+string(form.Body), token) {
		t.Error("the record has the credential")
	}
	if list := v.entries(); len(list) != 0 {
		t.Errorf("after the end the store has %+v", list)
	}
}

// A turn that runs again asks with the same URL.
func TestEachRunAsksWithTheSameURL(t *testing.T) {
	v := newVault(t)
	r := v.send("m1", "Order!", "")
	begin, urls := v.clock().Truncate(12*time.Hour), []string{}
	for _, after := range []time.Duration{0, 11 * time.Hour, 12 * time.Hour} {
		url, err := v.store.URL(t.Context(), credential.AskOf(r, "shop-token", begin.Add(after)))
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, url)
		v.rotate(after + time.Second)
	}
	if urls[0] != urls[1] || urls[0] == urls[2] {
		t.Errorf("the URLs are %v", urls)
	}
}

// A credential is for one task: the next task asks again, and an entry that is moved to another
// task or another owner does not open. Neither does one whose key is gone.
//
// Shows M23.
func TestCredentialIsForOneTask(t *testing.T) {
	v := newVault(t)
	one := v.send("m1", "Order!", "").ID()
	r, url := v.asks(one)
	if err := v.give(r, url, token); err != nil {
		t.Fatal(err)
	}
	other := v.send("m2", "Order!", "").ID()
	o, _ := v.asks(other)

	e := v.entries()[0]
	moved := kv.Entry{Key: strings.Replace(e.Key, r.CredentialPrefix(), o.CredentialPrefix(), 1), Owner: "me", Value: e.Value}
	if _, err := v.kv.Put(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := v.store.Find(t.Context(), o, "shop-token"); ok || !errors.Is(err, keys.ErrSealed) {
		t.Errorf("moved to another task: %t, %v", ok, err)
	}
	v.send("m3", "Go on!", other)
	v.asks(other) // as if there were none

	theirs := r
	theirs.Owner = "you"
	if _, ok, err := v.store.Find(t.Context(), theirs, "shop-token"); ok || !errors.Is(err, keys.ErrSealed) {
		t.Errorf("of another owner: %t, %v", ok, err)
	}
	if _, ok, err := v.store.Find(t.Context(), r, "shop-token"); !ok || err != nil {
		t.Errorf("of the task itself: %t, %v", ok, err)
	}
	v.ring = ""
	v.rotate(0)
	if _, ok, err := v.store.Find(t.Context(), r, "shop-token"); ok || !errors.Is(err, keys.ErrSealed) || !strings.Contains(err.Error(), keys.CredentialSecret) {
		t.Errorf("under other keys: %t, %v", ok, err)
	}
}

// A URL ends after a day, and so does a credential.
func TestCredentialsEnd(t *testing.T) {
	v := newVault(t)
	id := v.send("m1", "Order!", "").ID()
	r, url := v.asks(id)
	v.advance(24 * time.Hour)
	if err := v.give(r, url, token); !errors.Is(err, credential.ErrNotAsked) {
		t.Errorf("a day later: %v", err)
	}

	v.send("m2", "Go on!", id)
	r, url = v.asks(id)
	if err := v.give(r, url, token); err != nil {
		t.Fatal(err)
	}
	v.advance(credential.Keep)
	if _, ok, err := v.store.Find(t.Context(), r, "shop-token"); ok || err != nil {
		t.Errorf("a day after it was given: %t, %v", ok, err)
	}
}

// A credential that its service refuses is asked for again, in the same run.
func TestRefusedCredentialIsAskedForAgain(t *testing.T) {
	v := newVault(t)
	v.bad = "wrong"
	id := v.send("m1", "Order!", "").ID()
	for _, value := range []string{"wrong", token} {
		r, url := v.asks(id)
		if err := v.give(r, url, value); err != nil {
			t.Fatal(err)
		}
	}
	v.deliver(id, "job", 0)
	if r := v.Load(id); r.State() != a2a.TaskStateCompleted || len(v.got) != 1 {
		t.Errorf("the task is %s and got %v", r.State(), v.got)
	}
}

// A task that is canceled keeps no credential: the job of its end deletes it.
func TestCancelDeletesCredentials(t *testing.T) {
	v := newVault(t)
	id := v.send("m1", "Order!", "").ID()
	r, url := v.asks(id)
	if err := v.give(r, url, token); err != nil {
		t.Fatal(err)
	}
	if _, err := v.desk.ChangeByID(t.Context(), id, func(r task.Record, m task.Moment) (task.Record, bool, error) {
		return r.Cancel(m, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("canceled")), nil)
	}); err != nil {
		t.Fatal(err)
	}
	v.deliver(id, "job", 0)
	if list := v.entries(); len(list) != 0 {
		t.Errorf("the store has %+v", list)
	}
}

// Without a URL that can take credentials the task fails, and the log says how to mend it.
func TestNoURLForCredentials(t *testing.T) {
	for base, ok := range map[string]bool{"": false, "http://agent.example.com": false, "https://agent.example.com": true, "http://127.0.0.1:8080": true, "http://localhost:1": true} {
		v := newVault(t)
		v.base = base
		_, err := v.store.URL(t.Context(), credential.AskOf(v.send("m1", "Order!", ""), "shop-token", v.clock()))
		if ok != (err == nil) || !ok && (!errors.Is(err, credential.ErrURL) || !strings.Contains(err.Error(), "ERRAND_URL")) {
			t.Errorf("%q: %v", base, err)
		}
	}
	v := newVault(t)
	v.base = ""
	id := v.send("m1", "Order!", "").ID()
	v.deliver(id, "job", 0)
	if r := v.Load(id); r.State() != a2a.TaskStateFailed {
		t.Errorf("the task is %s", r.State())
	}
}
