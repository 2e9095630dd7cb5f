package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/worker/tools"
)

// runs makes a tool of a function, and a call of it.
func runs(t *testing.T, run func(context.Context, order) (any, error), opts ...tools.Option) (tools.Tool, tools.Call) {
	t.Helper()
	tool := tools.New("buy", "Buys something.", run, opts...)
	call, err := tool.Bind(json.RawMessage(`{"item":"tea"}`))
	if err != nil {
		t.Fatal(err)
	}
	return tool, call
}

func TestRun(t *testing.T) {
	sold := errors.New("sold out")
	for name, tt := range map[string]struct {
		run     func(context.Context, order) (any, error)
		result  string
		wantErr string
	}{
		"result":              {func(context.Context, order) (any, error) { return 7, nil }, `{"output":7}`, ""},
		"error":               {func(context.Context, order) (any, error) { return nil, sold }, `{"error":"sold out"}`, "returned an error"},
		"panic":               {func(context.Context, order) (any, error) { panic("secret") }, `{"error":"the tool broke down"}`, "panicked: string"},
		"exit":                {func(context.Context, order) (any, error) { runtime.Goexit(); return 7, nil }, `{"error":"the tool broke down"}`, "ended its goroutine"},
		"just within":         {func(context.Context, order) (any, error) { time.Sleep(2*time.Minute - 1); return 7, nil }, `{"output":7}`, ""},
		"ends at the limit":   {func(ctx context.Context, _ order) (any, error) { <-ctx.Done(); return nil, ctx.Err() }, "", "time limit of 2m0s"},
		"error after it":      {func(ctx context.Context, _ order) (any, error) { <-ctx.Done(); return nil, sold }, "", "time limit of 2m0s"},
		"goes on regardless":  {func(context.Context, order) (any, error) { time.Sleep(time.Hour); return nil, sold }, "", "time limit of 2m0s"},
		"its own shorter one": {func(ctx context.Context, _ order) (any, error) { return nil, context.DeadlineExceeded }, `{"error":"context deadline exceeded"}`, "returned an error"},
	} {

		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tool, call := runs(t, tt.run)
				began := time.Now()
				result, err := tool.Run(t.Context(), call, func(json.RawMessage) { t.Error("a late result") })

				if string(result) != tt.result {
					t.Errorf("result %s, want %s", result, tt.result)
				}
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				if limited := strings.Contains(tt.wantErr, "limit"); errors.Is(err, tools.ErrTimeLimit) != limited || time.Since(began) > 2*time.Minute {
					t.Errorf("%v after %s; is it ErrTimeLimit: want %t", err, time.Since(began), limited)
				}
				time.Sleep(time.Hour) // until the function ends
			})
		})
	}
}

// A function that goes on after the time limit, or after its run has stopped, has its result
// stored all the same, because the effect was made.
func TestLateResults(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func() (any, error)
		want string
	}{
		"result":    {func() (any, error) { return 7, nil }, `{"output":7}`},
		"too large": {func() (any, error) { return strings.Repeat("x", 64<<10), nil }, `{"error":"the tool was run, but its result is too large to be shown: 65550 bytes, at most 65536"}`},
		"error":     {func() (any, error) { return nil, errors.New("cut off") }, ""},
		"panic":     {func() (any, error) { panic("cut off") }, ""},
		"exit":      {func() (any, error) { runtime.Goexit(); return nil, nil }, ""},
		"wait":      {func() (any, error) { return nil, tools.Later(time.Now()) }, ""},
	} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", stopped ", stopped), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tool, call := runs(t, func(context.Context, order) (any, error) { time.Sleep(time.Hour); return tt.end() }, tools.TimeLimit(time.Minute))
					ctx, stop := context.WithCancel(t.Context())
					want := tools.ErrTimeLimit
					if stopped {
						time.AfterFunc(time.Second, stop)
						want = context.Canceled
					}

					late := make(chan json.RawMessage, 2)
					result, err := tool.Run(ctx, call, func(r json.RawMessage) { late <- r })
					if result != nil || !errors.Is(err, want) {
						t.Errorf("%s, %v; want no result and %v", result, err, want)
					}
					if len(late) > 0 {
						t.Error("a result before its time")
					}

					stop()
					time.Sleep(2 * time.Hour)
					synctest.Wait()
					close(late)
					got := ""
					for r := range late {
						got += string(r)
					}
					if got != tt.want {
						t.Errorf("late: %s, want %s", got, tt.want)
					}
				})
			})
		}
	}
}

func TestLateResultWithoutAReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool, call := runs(t, func(context.Context, order) (any, error) { time.Sleep(time.Hour); return 7, nil })
		if _, err := tool.Run(t.Context(), call, nil); !errors.Is(err, tools.ErrTimeLimit) {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestRunOfAStoppedRun(t *testing.T) {
	tool, call := runs(t, func(context.Context, order) (any, error) { t.Error("the call began"); return nil, nil })
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if result, err := tool.Run(ctx, call, nil); result != nil || err != context.Canceled {
		t.Errorf("%s, %v", result, err)
	}

	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := tool.Run(past, call, nil); err != context.DeadlineExceeded {
		t.Errorf("a run that is over: %v, want the context's error, not the limit's", err)
	}
}

// An error that comes at the moment at which the run stops is no result.
func TestErrorOfARunThatStops(t *testing.T) {
	for range 200 {
		ctx, stop := context.WithCancel(t.Context())
		tool, call := runs(t, func(context.Context, order) (any, error) { stop(); return nil, errors.New("cut off") })
		if result, err := tool.Run(ctx, call, nil); result != nil || err != context.Canceled {
			t.Fatalf("%s, %v; want only the context's error", result, err)
		}
	}
}

// A result that comes at the moment at which its time ends comes once.
func TestResultComesOnce(t *testing.T) {
	for range 200 {
		late := make(chan json.RawMessage, 1)
		ctx, stop := context.WithCancel(t.Context())
		tool, call := runs(t, func(context.Context, order) (any, error) { stop(); return 7, nil })
		result, err := tool.Run(ctx, call, func(r json.RawMessage) { late <- r })
		if err != nil {
			result = <-late
		}
		if string(result) != `{"output":7}` || len(late) > 0 {
			t.Fatalf("result %s, %v, and %d late", result, err, len(late))
		}
	}
}

func TestWaits(t *testing.T) {
	at := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	for name, tt := range map[string]struct {
		err  error
		want tools.Wait
	}{
		"later":         {tools.Later(at), tools.Wait{At: at}},
		"wake":          {tools.Wake(at), tools.Wait{At: at, Told: true}},
		"wrapped later": {fmt.Errorf("the shop is closed: %w", tools.Later(at)), tools.Wait{At: at}},
		"joined wake":   {errors.Join(errors.New("not yet"), tools.Wake(at)), tools.Wait{At: at, Told: true}},
	} {
		t.Run(name, func(t *testing.T) {
			tool, call := runs(t, func(context.Context, order) (any, error) { return 7, tt.err })
			result, err := tool.Run(t.Context(), call, nil)
			var w *tools.Wait
			if result != nil || !errors.As(err, &w) || *w != tt.want {
				t.Errorf("%s, %v; want no result and %+v", result, err, tt.want)
			}
			if !strings.Contains(err.Error(), "2031-05-06T07:08:09Z") || strings.Contains(err.Error(), "told") != tt.want.Told {
				t.Errorf("the error says %q", err)
			}
		})
	}
}
