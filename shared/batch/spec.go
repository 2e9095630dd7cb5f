package batch

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	jsonv2 "github.com/go-json-experiment/json"

	"errand/shared/task"
)

// Key is the key of a spec in the data part that carries it.
const Key = "batch"

// ErrSpec says that the first message of a task has no spec.
var ErrSpec = errors.New("batch: the task does not begin with a spec")

// A carrier is the data part of a spec.
type carrier struct {
	Batch Spec `json:"batch"`
}

// Data returns the content of the data part that carries the spec.
func (s Spec) Data() (map[string]any, error) { return dataOf(carrier{s}) }

// SpecOf reads the spec of a batch from its record. Later messages may have changed the
// budget.
func SpecOf(r task.Record) (Spec, error) {
	for _, m := range r.Task.History[:min(len(r.Task.History), 1)] {
		for _, p := range m.Parts {
			text, err := json.Marshal(p.Data())
			if err != nil {
				continue
			}
			var c carrier
			if json.Unmarshal(text, &c) == nil && c.Batch.Name != "" {
				return c.Batch, nil
			}
		}
	}
	return Spec{}, ErrSpec
}

// A Wish is what a later message to a batch asks for: to go on, with another budget if it
// names one. It is the data part {"batch": {"budget": {...}}} of that message.
type Wish struct {
	Budget *Budget `json:"budget,omitempty"`
}

// Data returns the content of the data part that carries the wish.
func (w Wish) Data() (map[string]any, error) { return dataOf(map[string]Wish{Key: w}) }

// WishIn reads a wish from a part of a message, and reports whether the part is one. It takes
// nothing that it does not know.
func WishIn(p *a2a.Part) (w Wish, ok bool) {
	var c struct {
		Batch *Wish `json:"batch"`
	}
	text, err := json.Marshal(p.Data())
	if err != nil {
		return Wish{}, false
	}
	if err := jsonv2.Unmarshal(text, &c, jsonv2.RejectUnknownMembers(true)); err != nil || c.Batch == nil {
		return Wish{}, false
	}
	return *c.Batch, true
}

// BudgetOf returns the budget of a batch: that of the newest message that names one. nil: there is none.
func BudgetOf(r task.Record) *Budget {
	all := r.View().History
	for i := len(all) - 1; i > 0; i-- {
		for _, p := range all[i].Parts {
			if w, ok := WishIn(p); ok && w.Budget != nil && all[i].Role == a2a.MessageRoleUser {
				return w.Budget
			}
		}
	}
	s, _ := SpecOf(r)
	return s.Budget
}

// maxBudget, in tokens, and maxPrice are far more than any batch costs.
const (
	maxBudget = 1_000_000_000_000_000
	maxPrice  = 1_000_000 // units of a currency
)

// Check finds faults of a budget. The error is the remedy.
func (b *Budget) Check() error {
	switch {
	case b == nil:
		return nil
	case b.Tokens < 0 || b.Tokens > maxBudget || !(b.Price >= 0 && b.Price <= maxPrice):
		return errors.New("must be above 0, and at most 10^15 tokens or 10^6 units of the currency")
	case (b.Tokens > 0) == (b.Price > 0):
		return errors.New(`must have either tokens or a price: {"tokens": 1000000}, or {"price": 5, "currency": "USD"}`)
	case b.Price > 0 && !currency.MatchString(b.Currency):
		return errors.New("must have the currency of its price, three letters as in the operator's prices")
	case b.Price == 0 && b.Currency != "":
		return errors.New("must have no currency beside tokens")
	}
	return nil
}

// Equal reports whether two budgets are the same.
func (b *Budget) Equal(other *Budget) bool {
	if b == nil || other == nil {
		return b == other
	}
	return *b == *other
}

var currency = regexp.MustCompile(`^[A-Z]{3}$`)

// dataOf is v as a data part has it.
func dataOf(v any) (data map[string]any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return data, json.Unmarshal(text, &data)
}

// ParseBudget reads a budget as people write it: a number of tokens such as 1000000, or a price
// such as 2.50USD.
func ParseBudget(text string) (*Budget, error) {
	number := strings.TrimRight(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	of := strings.TrimSpace(text[len(number):])
	b := &Budget{Currency: of}
	var err error
	if of == "" {
		b.Tokens, err = strconv.ParseInt(number, 10, 64)
	} else {
		b.Price, err = strconv.ParseFloat(number, 64)
	}
	if err == nil {
		err = b.Check()
	}
	if err != nil {
		return nil, errors.New("must be a number of tokens such as 1000000, or a price such as 2.50USD")
	}
	return b, nil
}
