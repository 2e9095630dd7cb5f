package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"errand/shared/batch"
)

// A view is a batch as the agent shows it.
type view struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Message  string `json:"message"`
	Complete bool   `json:"complete"` // the files are whole

	OnBadLine string        `json:"onBadLine"`
	Budget    *batch.Budget `json:"budget"`
	Input     struct {
		File   string `json:"file"`
		SHA256 string `json:"sha256"`
	} `json:"input"`

	Lines     *int    `json:"lines"` // nil: not known yet
	Bad       int     `json:"bad"`
	Begun     int     `json:"begun"`
	Ended     int     `json:"ended"`
	Completed int     `json:"completed"`
	Failed    int     `json:"failed"`
	Rate      float64 `json:"rate"` // lines in a second

	Estimate *struct { // nil: there is none, or not yet
		Input int64  `json:"input"`
		Price *price `json:"price"`
	} `json:"estimate"`
	Warning string `json:"warning"`

	Tokens struct {
		Input    int64 `json:"input"`
		Cached   int64 `json:"cached"`
		Output   int64 `json:"output"`
		Thoughts int64 `json:"thoughts"`
	} `json:"tokens"`
	Price *price `json:"price"`
}

type price struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
}

// String writes an amount with its currency.
func (p price) String() string {
	return strconv.FormatFloat(p.Amount, 'f', -1, 64) + " " + plain(p.Currency)
}

// States of a batch that the command tells apart.
const (
	paused    = "paused"
	completed = "completed"
)

// stopped reports whether the batch may have ended before all of its lines had.
func (v view) stopped() bool { return v.State == "canceled" || v.State == "failed" }

// Times between two looks at a batch.
const (
	lookFirst = 200 * time.Millisecond
	lookLast  = 5 * time.Second
)

// watch looks at a batch until its files are whole, or until it is paused.
func (j *job) watch(ctx context.Context, v view) (view, error) {
	for every := lookFirst; ; every = min(every+every/10, lookLast) {
		j.expect(v)
		j.bar.lines(v)
		if v.Complete || v.State == paused {
			return v, nil
		}

		select {
		case <-j.After(every):
		case <-ctx.Done():
			return v, errInterrupted
		}

		next, err := j.look(ctx, v.ID)
		if err != nil {
			return v, err
		}
		v = next
		j.faults = ""
	}
}

// expect tells once what the input of a batch that was submitted costs about, unless it is over.
func (j *job) expect(v view) {
	if v.Estimate == nil || v.Lines == nil || v.Complete || j.expected || j.File == "" && j.Retry == "" {
		return
	}
	j.expected = true
	say := fmt.Sprintf("lines: %s, about %s tokens of input", number(int64(*v.Lines)), number(v.Estimate.Input))
	if v.Estimate.Price != nil {
		say += ", about " + v.Estimate.Price.String()
	}
	if v.Warning != "" {
		say += "\n" + plain(v.Warning)
	}
	j.tell("%s", say)
}

// fetchAll fetches the results and the errors of a batch that is complete.
func (j *job) fetchAll(ctx context.Context, v view) error {
	j.bar.clear()
	for _, f := range []struct {
		kind string
		to   *output
		want int
	}{{"results", j.results, v.Completed}, {"errors", j.errors, v.Failed}} {
		got := &sink{w: f.to.w}
		if err := j.agent.fetch(ctx, j.agent.at(nil, "batches", v.ID, f.kind), got); err != nil {
			return err
		}
		if v.State == completed && got.lines != f.want {
			return fmt.Errorf("the %s have %d lines, and should have %d", f.kind, got.lines, f.want)
		}
	}
	return errors.Join(j.results.commit(), j.errors.commit())
}

// code is the exit code of a batch whose files were fetched.
func (v view) code() int {
	switch {
	case v.State == completed && v.Failed == 0:
		return Completed
	case v.State == completed:
		return SomeFailed
	case v.Begun == 0 && v.Bad > 0:
		return Refused
	}
	return Ended
}

// summary tells what became of the batch, and what it cost.
func (v view) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s with an answer, %s without", v.State, number(int64(v.Completed)), number(int64(v.Failed)))
	if v.State != completed && v.Message != "" {
		fmt.Fprintf(&b, "\n%s", plain(v.Message))
	}

	fmt.Fprintf(&b, "\n%s tokens: %s in", number(v.Tokens.Input+v.Tokens.Output+v.Tokens.Thoughts), number(v.Tokens.Input))
	if v.Tokens.Cached > 0 {
		fmt.Fprintf(&b, " (%s cached)", number(v.Tokens.Cached))
	}
	fmt.Fprintf(&b, ", %s out", number(v.Tokens.Output))
	if v.Tokens.Thoughts > 0 {
		fmt.Fprintf(&b, ", %s thoughts", number(v.Tokens.Thoughts))
	}
	if v.Price != nil {
		fmt.Fprintf(&b, "; %s", v.Price)
	}
	return b.String()
}

// number writes 1234567 as 1,234,567.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
