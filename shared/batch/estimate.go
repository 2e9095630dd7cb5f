package batch

import "fmt"

// An Estimate is about what the input of a batch costs, by a sample of its lines. Input is what
// the model reads as it begins each line: the message, with instructions and tools. What it
// answers, and reads again after calls of tools, is not known before, and not in it. The zero
// Estimate is none.
type Estimate struct {
	Input    int64  `json:"input"`              // tokens
	Nanos    int64  `json:"nanos,omitempty"`    // their price, in 1e-9 of a unit of Currency
	Currency string `json:"currency,omitempty"` // empty: the price is not known
}

// Price is the price of the input in units of Currency.
func (e Estimate) Price() float64 { return float64(e.Nanos) / 1e9 }

// String tells a person the estimate.
func (e Estimate) String() string {
	text := "about " + grouped(e.Input) + " tokens of input"
	if e.Currency != "" {
		text += ", about " + amount(e.Price()) + " " + e.Currency
	}
	return text
}

// Warning tells the client that a budget is too small for the input alone. It is empty if it is
// not, or if nobody knows.
func (e Estimate) Warning(b *Budget) string {
	const so = ": the batch will be paused before it has ended."
	switch {
	case b == nil:
	case b.Tokens > 0 && e.Input > b.Tokens:
		return fmt.Sprintf("The input alone has about %s tokens, and the budget %s", grouped(e.Input), grouped(b.Tokens)) + so
	case b.Price > 0 && e.Currency == b.Currency && e.Price() > b.Price:
		return fmt.Sprintf("The input alone costs about %s %s, and the budget is %s %s", amount(e.Price()), e.Currency, amount(b.Price), b.Currency) + so
	}
	return ""
}
