package agent

import (
	"math"
	"math/big"
	"regexp"
	"strings"
)

// Prices are the prices of the model's tokens, as the operator pays them. None are shipped.
// They make the price of a task, which is an estimate and no invoice: it knows no free
// tokens, and no other price from a certain size of a request on.
//
// A price is for a million tokens, in units of the currency, with at most 9 digits before
// the point and 6 after it: {currency: USD, input: 0.30, output: 2.50, cached: 0.03}.
type Prices struct {
	// Currency is three capital letters (ISO 4217), for example USD. Required.
	Currency string `yaml:"currency"`
	// Input is the price of tokens that the model reads. Required, unless only Models
	// have prices.
	Input string `yaml:"input"`
	// Output is the price of tokens of its answers. Required as Input is.
	Output string `yaml:"output"`
	// Thought is the price of tokens of its thoughts. Default: that of Output.
	Thought string `yaml:"thought"`
	// Cached is the price of tokens that it reads from a cache. Default: that of Input.
	Cached string `yaml:"cached"`
	// Models have prices of their own, which hold for one model each. The prices above
	// hold for every other model, also for one that ERRAND_MODEL chooses. A model without
	// prices has tokens and no sum. Optional.
	Models []ModelPrices `yaml:"models"`
}

// ModelPrices are the prices of one model.
type ModelPrices struct {
	// Model is its name, as in Agent.Model. Required, unique.
	Model string `yaml:"model"`
	// Input is the price of tokens that the model reads. Required.
	Input string `yaml:"input"`
	// Output is the price of tokens of its answers. Required.
	Output string `yaml:"output"`
	// Thought is the price of tokens of its thoughts. Default: that of Output.
	Thought string `yaml:"thought"`
	// Cached is the price of tokens that it reads from a cache. Default: that of Input.
	Cached string `yaml:"cached"`
}

// A Price is the prices of one model. Their units are 1e-6 of a unit of Currency for a
// million tokens.
type Price struct {
	Currency                       string
	input, output, thought, cached int64
}

// Of returns the prices of a model, and false if it has none. Nil Prices have none.
func (p *Prices) Of(model string) (Price, bool) {
	if p == nil {
		return Price{}, false
	}

	own := ModelPrices{Input: p.Input, Output: p.Output, Thought: p.Thought, Cached: p.Cached}
	for _, m := range p.Models {
		if plainName(m.Model) == plainName(model) {
			own = m
		}
	}
	if own.Input == "" {
		return Price{}, false
	}

	price := Price{Currency: p.Currency, input: micros(own.Input), output: micros(own.Output)}
	price.thought, price.cached = price.output, price.input
	if own.Thought != "" {
		price.thought = micros(own.Thought)
	}
	if own.Cached != "" {
		price.cached = micros(own.Cached)
	}
	return price, true
}

// Nanos is the price of one reply of the model in 1e-9 of a unit of the currency. It is
// exact, but for the last digit, which is rounded. cached is the part of prompt that came
// from a cache. Numbers below zero count as zero, and a price that would not fit is the
// largest number.
func (p Price) Nanos(prompt, output, thought, cached int64) int64 {
	prompt = max(prompt, 0)
	cached = min(max(cached, 0), prompt)

	sum := new(big.Int) // in 1e-12 of a unit
	for _, part := range []struct{ tokens, price int64 }{
		{prompt - cached, p.input}, {cached, p.cached}, {max(output, 0), p.output}, {max(thought, 0), p.thought},
	} {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(part.tokens), big.NewInt(part.price)))
	}

	sum.Add(sum, big.NewInt(500))
	sum.Div(sum, big.NewInt(1000))
	if !sum.IsInt64() {
		return math.MaxInt64
	}
	return sum.Int64()
}

// plainName is a model's name without the prefix with which the Gemini API lists it.
func plainName(model string) string { return strings.TrimPrefix(model, "models/") }

var (
	currency = regexp.MustCompile(`^[A-Z]{3}$`)
	amount   = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,6}))?$`)
)

// micros reads an amount as a number of millionths. It is zero for a text that is no amount.
func micros(text string) int64 {
	m := amount.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	var n int64
	for _, digit := range m[1] + (m[2] + "000000")[:6] {
		n = 10*n + int64(digit-'0')
	}
	return n
}

func (r *reader) prices(p *Prices) {
	if p == nil {
		return
	}
	if !currency.MatchString(p.Currency) {
		r.failf("prices.currency", "must be three capital letters, such as USD")
	}

	if all := p.Input + p.Output + p.Thought + p.Cached; all != "" || len(p.Models) == 0 {
		r.modelPrices("prices", ModelPrices{Input: p.Input, Output: p.Output, Thought: p.Thought, Cached: p.Cached})
	}

	var names []string
	for i, m := range p.Models {
		at := item("prices.models", i)
		r.line(at+".model", m.Model, "the name of the model, for example gemini-3.6-flash")
		r.modelPrices(at, m)
		names = append(names, plainName(m.Model))
	}
	r.unique("prices.models", names)
}

func (r *reader) modelPrices(at string, m ModelPrices) {
	for _, price := range []struct {
		key, text string
		required  bool
	}{{"input", m.Input, true}, {"output", m.Output, true}, {"thought", m.Thought, false}, {"cached", m.Cached, false}} {
		switch {
		case price.text == "" && !price.required:
		case price.text == "":
			r.failf(at+"."+price.key, "is required: the price of a million tokens, for example 0.30; or remove prices, and tasks show tokens alone")
		case !amount.MatchString(price.text):
			r.failf(at+"."+price.key, "must be the price of a million tokens: digits, at most 9 before a point and 6 after it, for example 0.30")
		}
	}
}
