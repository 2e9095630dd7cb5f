package tools_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/worker/tools"
)

// happened is a Reconcile for tools that return an order.
func happened(context.Context, string) (order, bool, error) { return order{Item: "tea"}, true, nil }

func TestOptions(t *testing.T) {
	type answers struct {
		effects, alone, reconciles bool
		keys, limit                time.Duration
	}
	for name, tt := range map[string]struct {
		opts []tools.Option
		want answers
	}{
		"none":            {nil, answers{limit: tools.DefaultTimeLimit}},
		"effects":         {[]tools.Option{tools.Effects()}, answers{effects: true, keys: tools.DefaultKeyAge, limit: tools.DefaultTimeLimit}},
		"keys":            {[]tools.Option{tools.KeepsKeys(time.Hour), tools.Effects()}, answers{effects: true, keys: time.Hour, limit: tools.DefaultTimeLimit}},
		"no keys":         {[]tools.Option{tools.Effects(), tools.KeepsKeys(0)}, answers{effects: true, alone: true, limit: tools.DefaultTimeLimit}},
		"alone":           {[]tools.Option{tools.Alone()}, answers{alone: true, limit: tools.DefaultTimeLimit}},
		"longest":         {[]tools.Option{tools.TimeLimit(tools.MaxTimeLimit)}, answers{limit: tools.MaxTimeLimit}},
		"reconcile":       {[]tools.Option{tools.Reconcile(happened), tools.Effects()}, answers{effects: true, reconciles: true, keys: tools.DefaultKeyAge, limit: tools.DefaultTimeLimit}},
		"the last counts": {[]tools.Option{tools.TimeLimit(time.Hour), tools.TimeLimit(time.Second)}, answers{limit: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			tool := tools.New("buy", "Buys something.", echo, tt.opts...)
			if err := tool.Fault(); err != nil {
				t.Fatal(err)
			}
			_, reconciles := tool.Reconciler()
			if got := (answers{tool.HasEffects(), tool.RunsAlone(), reconciles, tool.KeyAge(), tool.TimeLimit()}); got != tt.want {
				t.Errorf("the tool says %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	other := func(context.Context, string) (string, bool, error) { return "", false, nil }
	for name, tt := range map[string]struct {
		opts []tools.Option
		want string
	}{
		"keys without effects":      {[]tools.Option{tools.KeepsKeys(time.Hour)}, "KeepsKeys without Effects"},
		"no keys without effects":   {[]tools.Option{tools.KeepsKeys(0)}, "KeepsKeys without Effects"},
		"negative keys":             {[]tools.Option{tools.Effects(), tools.KeepsKeys(-1)}, "KeepsKeys is -1ns"},
		"no time":                   {[]tools.Option{tools.TimeLimit(0)}, "TimeLimit is 0s"},
		"too much time":             {[]tools.Option{tools.TimeLimit(tools.MaxTimeLimit + 1)}, "at most 25m0s"},
		"reconcile without effects": {[]tools.Option{tools.Reconcile(happened)}, "Reconcile without Effects"},
		"reconcile of another type": {[]tools.Option{tools.Effects(), tools.Reconcile(other)}, "returns string, but the tool returns tools_test.order"},
		"reconcile without a function": {[]tools.Option{tools.Effects(),
			tools.Reconcile[order](nil)}, "Reconcile has no function"},
	} {
		t.Run(name, func(t *testing.T) {
			tool := tools.New("buy", "Buys something.", echo, tt.opts...)
			if err := tool.Fault(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Fault = %v, want %q", err, tt.want)
			}
			if _, ok := tool.Reconciler(); ok {
				t.Error("a tool that cannot be used reconciles")
			}
		})
	}
}

func TestReconciler(t *testing.T) {
	type answer = func(ctx context.Context, key string) (any, bool, error)
	down := errors.New("the shop is down")
	for name, tt := range map[string]struct {
		answer   answer
		result   string
		happened bool
		wantErr  string
	}{
		"it happened": {func(_ context.Context, key string) (any, bool, error) { return order{Item: key}, true, nil }, `{"output":{"item":"task/life/3.1"}}`, true, ""},
		"it did not":  {func(context.Context, string) (any, bool, error) { return order{Item: "x"}, false, nil }, "", false, ""},
		"unknown":     {func(context.Context, string) (any, bool, error) { return order{Item: "x"}, true, down }, "", false, "down"},
		"no JSON":     {func(context.Context, string) (any, bool, error) { return math.NaN(), true, nil }, `{"error":"the tool was run, but its result cannot be shown"}`, true, ""},
		"panic":       {func(context.Context, string) (any, bool, error) { panic("secret") }, "", false, "panicked: string"},
		"hangs":       {func(context.Context, string) (any, bool, error) { select {} }, "", false, "time limit of 1m"},
		"ends late":   {func(ctx context.Context, _ string) (any, bool, error) { <-ctx.Done(); return nil, false, down }, "", false, "time limit of 1m"},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(_ context.Context, in order) (any, error) { return in, nil }
			tool := tools.New("buy", "Buys something.", run, tools.Effects(), tools.Reconcile(tt.answer), tools.TimeLimit(time.Minute))

			test := func(t *testing.T) {
				ask, ok := tool.Reconciler()
				if !ok {
					t.Fatal(tool.Fault())
				}

				result, happened, err := ask(t.Context(), "task/life/3.1")
				if string(result) != tt.result || happened != tt.happened {
					t.Errorf("%s, happened: %t; want %s, %t", result, happened, tt.result, tt.happened)
				}
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
			}

			if name == "hangs" { // its goroutine is left behind, which a bubble does not allow
				tool = tools.New("buy", "Buys something.", run, tools.Effects(), tools.Reconcile(tt.answer), tools.TimeLimit(time.Millisecond))
				tt.wantErr = "time limit of 1ms"
				test(t)
				return
			}
			synctest.Test(t, test)
		})
	}
}

func TestReconcilerOfARunThatStops(t *testing.T) {
	for range 200 { // f and the run end at the same time, in any order
		ctx, stop := context.WithCancel(t.Context())
		tool := tools.New("buy", "Buys something.", echo, tools.Effects(), tools.Reconcile(func(context.Context, string) (order, bool, error) {
			stop()
			return order{}, false, errors.New("cut off")
		}))
		ask, _ := tool.Reconciler()
		if _, _, err := ask(ctx, "key"); err != context.Canceled {
			t.Fatalf("the error is %v, want that of the context", err)
		}
	}
}
