package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/worker/tools"
)

// A board keeps reports.
type board struct {
	mu   sync.Mutex
	said []string
	err  error
	wait bool // until the context ends
}

func (b *board) add(ctx context.Context, what string) error {
	if b.wait {
		<-ctx.Done()
		return ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, tools.InfoFrom(ctx).Key+" "+what)
	return b.err
}

func (b *board) Progress(ctx context.Context, text string) error { return b.add(ctx, text) }

func (b *board) Artifact(ctx context.Context, n int, a *a2a.Artifact) error {
	return b.add(ctx, fmt.Sprintf("%d %q %q %d", n, a.ID, a.Name, len(a.Parts)))
}

func artifact(name string) *a2a.Artifact {
	return &a2a.Artifact{ID: "own", Name: name, Parts: a2a.ContentParts{a2a.NewTextPart("x")}}
}

func TestReports(t *testing.T) {
	b := &board{}
	mine := artifact("invoice.txt")
	tool, call := runs(t, func(ctx context.Context, _ order) (any, error) {
		return nil, errors.Join(tools.Progress(ctx, "half"), tools.Artifact(ctx, mine), tools.Artifact(ctx, artifact("")), tools.Progress(ctx, "done"))
	})
	ctx := tools.With(tools.WithReporter(t.Context(), b), tools.Info{Key: "k"})
	if result, err := tool.Run(ctx, call, nil); err != nil {
		t.Fatalf("%s, %v", result, err)
	}
	want := []string{"k half", `k 1 "" "invoice.txt" 1`, `k 2 "" "buy" 1`, "k done"}
	if diff := cmp.Diff(want, b.said); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if mine.ID != "own" {
		t.Error("the tool's own artifact was changed")
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	down := errors.New("the record is full")
	empty := artifact("x")
	empty.Parts = append(empty.Parts, &a2a.Part{})
	for name, tt := range map[string]struct {
		report func(context.Context) error
		want   string
	}{
		"no text":    {func(ctx context.Context) error { return tools.Progress(ctx, " ") }, "no text"},
		"bytes":      {func(ctx context.Context) error { return tools.Progress(ctx, "\xff") }, "UTF-8"},
		"long":       {func(ctx context.Context) error { return tools.Progress(ctx, strings.Repeat("x", 1025)) }, "1025 bytes, at most 1024"},
		"nil":        {func(ctx context.Context) error { return tools.Artifact(ctx, nil) }, "no part"},
		"no part":    {func(ctx context.Context) error { return tools.Artifact(ctx, &a2a.Artifact{Name: "x"}) }, "no part"},
		"empty part": {func(ctx context.Context) error { return tools.Artifact(ctx, empty) }, "empty part"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &board{}
			tool, call := runs(t, func(ctx context.Context, _ order) (any, error) { return nil, tt.report(ctx) })
			for _, ctx := range []context.Context{t.Context(), tools.WithReporter(t.Context(), b)} { // alike in a test of the tool
				if result, _ := tool.Run(ctx, call, nil); !strings.Contains(string(result), tt.want) {
					t.Errorf("%s, want %q", result, tt.want)
				}
			}
			if len(b.said) > 0 {
				t.Errorf("it was reported: %q", b.said)
			}
		})
	}

	b := &board{err: down}
	tool, call := runs(t, func(ctx context.Context, _ order) (any, error) {
		if err := tools.Artifact(ctx, artifact("x")); err != down {
			t.Errorf("the artifact's error is %v", err)
		}
		return nil, tools.Progress(ctx, "x")
	})
	if result, _ := tool.Run(tools.WithReporter(t.Context(), b), call, nil); !strings.Contains(string(result), down.Error()) {
		t.Errorf("%s, want the Reporter's error", result)
	}
}

// Each call has its own limits, which hold for all its goroutines.
func TestReportsAreBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		report func(context.Context) error
		most   int
		want   string
	}{
		"progress": {func(ctx context.Context) error { return tools.Progress(ctx, strings.Repeat("x", 1024)) }, 100, "100 texts of progress, at most"},
		"artifact": {func(ctx context.Context) error { return tools.Artifact(ctx, artifact("x")) }, 16, "16 artifacts, at most"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &board{}
			ctx := tools.WithReporter(t.Context(), b)
			tool, call := runs(t, func(ctx context.Context, _ order) (any, error) {
				var all sync.WaitGroup
				for range tt.most {
					all.Go(func() {
						if err := tt.report(ctx); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				return nil, tt.report(ctx)
			})

			for n := range 2 {
				if result, _ := tool.Run(ctx, call, nil); !strings.Contains(string(result), tt.want) {
					t.Errorf("call %d: %s, want %q", n, result, tt.want)
				}
			}
			if len(b.said) != 2*tt.most {
				t.Errorf("%d reports, want %d", len(b.said), 2*tt.most)
			}
		})
	}
}

func TestReportsOutsideOfAnExecutor(t *testing.T) {
	if err := errors.Join(tools.Progress(t.Context(), "half"), tools.Artifact(t.Context(), artifact("x"))); err != nil {
		t.Error(err)
	}
}

// A call that has ended reports nothing: after its result, its time limit or its run.
func TestReportsAfterTheEnd(t *testing.T) {
	for _, name := range []string{"result", "limit", "run", "result without Run"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &board{}
				var later error
				tool, call := runs(t, func(ctx context.Context, _ order) (any, error) {
					report := func() {
						time.Sleep(time.Hour)
						ctx := context.WithoutCancel(ctx)
						later = errors.Join(tools.Progress(ctx, "x"), tools.Artifact(ctx, artifact("x")))
					}
					if strings.HasPrefix(name, "result") {
						go report()
						return 7, nil
					}
					report()
					return 7, nil
				})

				ctx, stop := context.WithCancel(tools.WithReporter(t.Context(), b))
				defer stop()
				if name == "run" {
					time.AfterFunc(time.Second, stop)
				}
				if name == "result without Run" {
					_, _ = call(ctx)
				} else {
					_, _ = tool.Run(ctx, call, func(json.RawMessage) {})
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if later == nil || strings.Count(later.Error(), "has ended") != 2 || len(b.said) > 0 {
					t.Errorf("reports after the end: %v, and %q were taken", later, b.said)
				}
			})
		})
	}
}

// A Reporter that waits holds no call beyond its end.
func TestReporterThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ended := &board{wait: true}, false
		tool, call := runs(t, func(ctx context.Context, _ order) (any, error) {
			err := tools.Progress(context.WithoutCancel(ctx), "x")
			ended = true
			return nil, err
		})
		if _, err := tool.Run(tools.WithReporter(t.Context(), b), call, nil); !errors.Is(err, tools.ErrTimeLimit) {
			t.Error(err)
		}
		synctest.Wait()
		if !ended {
			t.Error("the Reporter still waits")
		}
	})
}
