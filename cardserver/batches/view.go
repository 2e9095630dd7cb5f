package batches

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/batchdesk"
)

// A view is a batch as its owner sees it. What is not known is null or left out.
type view struct {
	ID       string     `json:"id"` // of the task too
	Name     string     `json:"name"`
	State    string     `json:"state"`             // a word of the table below
	Message  string     `json:"message,omitempty"` // what the task says about its state
	Complete bool       `json:"complete"`          // it has ended, and results and errors are whole
	Created  time.Time  `json:"created"`
	Deadline time.Time  `json:"deadline"`
	Expires  *time.Time `json:"expires,omitempty"` // everything of it is deleted then
	Input    inputView  `json:"input"`
	OnBad    string     `json:"onBadLine"`
	Retry    string     `json:"retry,omitempty"` // id of the batch whose failed lines it runs

	Lines     *int `json:"lines"`     // null: the manifest has not been read to its end
	Bad       int  `json:"bad"`       // lines that cannot run
	Begun     int  `json:"begun"`     // lines that have become tasks
	Open      int  `json:"open"`      // those of them that have not ended
	Ended     int  `json:"ended"`     // lines whose outcome is known
	Completed int  `json:"completed"` // lines with an answer, of those that results and errors show so far
	Failed    int  `json:"failed"`    // the others of those

	Estimate *estimateView `json:"estimate"`          // null: there is none, or not yet
	Warning  string        `json:"warning,omitempty"` // what is to be expected by the estimate

	Rate   float64       `json:"rate"`   // lines that end in a second, lately
	ETA    *time.Time    `json:"eta"`    // when the last line will have ended, by the rate
	Tokens tokensView    `json:"tokens"` // of the lines that results and errors show
	Price  *priceView    `json:"price"`  // of these tokens, by the operator's prices
	Budget *batch.Budget `json:"budget"`
	Links  linksView     `json:"links"`
}

type inputView struct {
	File       string `json:"file,omitempty"`
	Object     string `json:"object,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	SHA256     string `json:"sha256,omitempty"`
	Size       int64  `json:"size"`
}

type tokensView struct {
	Input    int64 `json:"input"`
	Cached   int64 `json:"cached"` // those of the input that came from a cache
	Output   int64 `json:"output"`
	Thoughts int64 `json:"thoughts"`
}

type priceView struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
}

// An estimateView is about the input alone, and not about answers.
type estimateView struct {
	Input int64      `json:"input"` // tokens
	Price *priceView `json:"price"` // of these tokens
}

func estimateOf(e batch.Estimate) *estimateView {
	if e == (batch.Estimate{}) {
		return nil
	}
	v := &estimateView{Input: e.Input}
	if e.Currency != "" {
		v.Price = &priceView{e.Price(), e.Currency}
	}
	return v
}

type linksView struct {
	Self    string `json:"self"`
	Results string `json:"results"`
	Errors  string `json:"errors"`
	Task    string `json:"task"`
}

type listView struct {
	Batches []view `json:"batches"`
	Next    string `json:"nextPageToken"` // empty: the list ends here
}

// states are the words for the states of a batch's task.
var states = map[a2a.TaskState]string{
	a2a.TaskStateSubmitted:     "submitted",
	a2a.TaskStateWorking:       "running",
	a2a.TaskStateInputRequired: "paused",
	a2a.TaskStateCompleted:     "completed",
	a2a.TaskStateFailed:        "failed",
	a2a.TaskStateCanceled:      "canceled",
	a2a.TaskStateRejected:      "failed",
}

func (a *API) view(b batchdesk.Batch) view {
	s, n := b.State, b.State.Counts
	in := b.Spec.Input
	v := view{
		ID: b.ID(), Name: b.Spec.Name, State: states[b.Record.State()], Message: b.Message(), Complete: b.Complete(),
		Created: b.Spec.At, Deadline: b.Spec.Deadline, OnBad: batch.Refuse, Retry: b.Spec.Retry,
		Input: inputView{in.File, in.Object, in.Generation, in.SHA256, in.Size},
		Bad:   s.Bad, Begun: s.Fed, Open: s.Open, Ended: s.Ended(), Completed: n.Completed, Failed: n.Failed,
		Rate:   s.Rate,
		Tokens: tokensView{n.Spent.Prompt, n.Spent.Cached, n.Spent.Output, n.Spent.Thought}, Budget: batch.BudgetOf(b.Record),
	}

	if b.Spec.OnBad != "" {
		v.OnBad = b.Spec.OnBad
	}
	if s.Lines > 0 {
		v.Lines = &s.Lines
	}
	v.Estimate = estimateOf(s.Estimate)
	if !b.Record.Terminal() {
		v.Warning = s.Estimate.Warning(v.Budget)
	}

	if b.Record.Terminal() {
		v.Expires, v.Open, v.Rate = &b.Record.Expires, 0, 0
	}
	if n.Spent.Currency != "" {
		v.Price = &priceView{float64(n.Spent.Nanos) / 1e9, n.Spent.Currency}
	}
	if left := s.Lines - s.Ended(); left > 0 && s.Rate > 0 && b.Record.State() == a2a.TaskStateWorking {
		eta := s.At.Add(time.Duration(float64(left) / s.Rate * float64(time.Second))).UTC().Truncate(time.Second)
		v.ETA = &eta
	}

	self := Path + "/" + v.ID
	v.Links = linksView{Self: self, Results: self + "/results", Errors: self + "/errors", Task: "/tasks/" + v.ID}
	return v
}
