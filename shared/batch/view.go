package batch

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A View is a batch as people and pipelines see it. Its names are an interface.
type View struct {
	ID       string        `json:"id"` // of the batch's task, and the context of its items
	Name     string        `json:"name"`
	State    a2a.TaskState `json:"state"`
	Message  string        `json:"message,omitempty"` // why it waits, or how it ended
	Input    string        `json:"input,omitempty"`   // file or object
	SHA256   string        `json:"sha256,omitempty"`
	Dialect  Dialect       `json:"form,omitempty"`
	Retry    string        `json:"retryOf,omitempty"`
	OnBad    string        `json:"onBadLine"`
	Created  time.Time     `json:"created,omitzero"`
	Began    time.Time     `json:"began,omitzero"` // when the first item was made
	Ended    time.Time     `json:"ended,omitzero"`
	Deadline time.Time     `json:"deadline,omitzero"`
	Expires  time.Time     `json:"expires,omitzero"` // when it is deleted with its items and files

	Lines Progress  `json:"lines"`
	Rate  float64   `json:"rate,omitempty"` // lines that end in a second
	ETA   time.Time `json:"eta,omitzero"`

	Tokens   int64   `json:"tokens"`          // of collected lines, as the price
	Price    float64 `json:"price,omitempty"` // in units of Currency
	Currency string  `json:"currency,omitempty"`
	Budget   *Budget `json:"budget,omitempty"`

	Estimate Estimate `json:"estimate,omitzero"` // of the input of all lines, before they ran
}

// Progress counts lines. Total is 0 until the manifest is read to its end. Completed and Failed
// are of collected lines, which are whole segments, so they are not more than Ended.
type Progress struct {
	Total     int `json:"total"`
	Bad       int `json:"bad"` // lines that cannot run; they count as failed when they are collected
	Open      int `json:"open"`
	Ended     int `json:"ended"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

// ViewOf makes the view of a batch from its record and its state. The state of a batch that no
// run has claimed yet is zero. Of a deleted batch only the id is known.
func ViewOf(r task.Record, s State, now time.Time) View {
	spec, _ := SpecOf(r) // of a deleted one nothing is left
	v := View{
		ID: r.ID(), Name: spec.Name, State: r.State(), Input: cmp.Or(spec.Input.File, spec.Input.Object), SHA256: spec.Input.SHA256,
		Dialect: s.Dialect, Retry: spec.Retry, OnBad: cmp.Or(spec.OnBad, Refuse), Created: spec.At, Deadline: spec.Deadline, Expires: r.Expires, Began: s.Began,
		Lines:  Progress{Total: s.Lines, Bad: s.Bad, Open: s.Open, Ended: s.Ended(), Completed: s.Counts.Completed, Failed: s.Counts.Failed},
		Tokens: s.Counts.Spent.Tokens(), Currency: s.Counts.Spent.Currency, Budget: BudgetOf(r), Estimate: s.Estimate,
	}
	if v.Currency != "" {
		v.Price = float64(s.Counts.Spent.Nanos) / 1e9
	}
	if m := r.Task.Status.Message; m != nil {
		v.Message = joined(m.Parts)
	}

	switch {
	case r.Terminal():
		v.Ended = r.Stamp()
	case !r.Interrupted():
		v.Rate = s.Rate
		v.ETA, _ = s.ETA(now)
		if s.Lines > 0 && r.Wake.IsZero() { // what the record says is as old as its last commit
			v.Message = v.Summary(now)
		}
	}
	return v
}

// Summary tells a person in one line how far a batch is.
func (v View) Summary(now time.Time) string {
	if v.Lines.Total == 0 {
		return "The manifest is being checked."
	}
	if v.Began.IsZero() && v.Lines.Ended == 0 {
		return v.checked()
	}

	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s lines have ended", grouped(int64(v.Lines.Ended)), grouped(int64(v.Lines.Total)))
	if v.Lines.Failed > 0 {
		fmt.Fprintf(&b, ", %s of them with an error", grouped(int64(v.Lines.Failed)))
	}

	if v.Rate > 0 {
		b.WriteString("; " + pace(v.Rate))
	}
	if left := v.ETA.Sub(now); !v.ETA.IsZero() && left > time.Second/2 {
		b.WriteString(", about " + span(left) + " left")
	}
	b.WriteString(".")
	if v.Tokens > 0 {
		fmt.Fprintf(&b, " %s tokens", grouped(v.Tokens))
		if v.Currency != "" {
			fmt.Fprintf(&b, ", %s %s", amount(v.Price), v.Currency)
		}
		b.WriteString(".")
	}
	return b.String()
}

// checked tells of a batch of which no line has begun.
func (v View) checked() string {
	text := "The manifest is checked. Lines: " + grouped(int64(v.Lines.Total))
	if v.Estimate != (Estimate{}) {
		text += ", " + v.Estimate.String()
	}
	text += "."
	if warning := v.Estimate.Warning(v.Budget); warning != "" {
		text += " " + warning
	}
	return text
}

// pace is a rate for a person.
func pace(rate float64) string {
	switch {
	case rate >= 10:
		return grouped(int64(rate+0.5)) + " a second"
	case rate >= 1:
		return strconv.FormatFloat(rate, 'f', 1, 64) + " a second"
	case rate*60 >= 1:
		return strconv.FormatFloat(rate*60, 'f', 0, 64) + " a minute"
	}
	return strconv.FormatFloat(max(rate*3600, 1), 'f', 0, 64) + " an hour"
}

// span is a duration for a person.
func span(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 90*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 36*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// grouped writes a number with its thousands apart: 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// amount writes money with two digits, or more if it is little.
func amount(x float64) string {
	if x >= 0.000001 && x < 0.1 {
		return strings.TrimRight(strconv.FormatFloat(x, 'f', 6, 64), "0")
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}
