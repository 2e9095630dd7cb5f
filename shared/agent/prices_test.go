package agent_test

import (
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"errand/shared/agent"
)

// The prices of these tests are invented, so that each digit of a sum tells where it is from.

func TestPriceOfAReply(t *testing.T) {
	const all = "prices: {currency: USD, input: 0.30, output: 2.50, thought: 4, cached: 0.03}\n"
	const few = "prices: {currency: EUR, input: 1, output: 10}\n"
	for _, tt := range []struct {
		name, prices                    string
		prompt, output, thought, cached int64
		currency                        string
		want                            int64 // in 1e-9 of a unit
	}{
		{"a million of each", all, 2_000_000, 1_000_000, 1_000_000, 1_000_000, "USD", 6_830_000_000},
		{"one token read", all, 1, 0, 0, 0, "USD", 300},
		{"one token of an answer", all, 0, 1, 0, 0, "USD", 2500},
		{"one thought", all, 0, 0, 1, 0, "USD", 4000},
		{"one token from a cache", all, 1, 0, 0, 1, "USD", 30},
		{"nothing", all, 0, 0, 0, 0, "USD", 0},
		{"thoughts as answers, cached as read", few, 3, 0, 2, 1, "EUR", 23_000},
		{"more cached than read", all, 2, 0, 0, 5, "USD", 60},
		{"hostile figures", all, -5, -5, -5, -5, "USD", 0},
		{"half a unit is rounded up", "prices: {currency: USD, input: 0.0005, output: 0}\n", 1, 0, 0, 0, "USD", 1},
		{"less is rounded down", "prices: {currency: USD, input: 0.000499, output: 0}\n", 1, 0, 0, 0, "USD", 0},
		{"rounded once", "prices: {currency: USD, input: 0.0003, output: 0.0003}\n", 1, 1, 0, 0, "USD", 1},
		{"six digits behind the point", "prices: {currency: USD, input: 0.018751, output: 0}\n", 1_000_000, 0, 0, 0, "USD", 18_751_000},
		{"the largest price", "prices: {currency: IRR, input: 999999999.999999, output: 0}\n", 9, 0, 0, 0, "IRR", 9_000_000_000_000},
		{"more than fits", "prices: {currency: IRR, input: 999999999.999999, output: 0}\n", math.MaxInt64, 0, 0, 0, "IRR", math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			price, ok := parse(t, minimal+tt.prices).Prices.Of("gemini-3.6-flash")
			if !ok || price.Currency != tt.currency {
				t.Fatalf("prices in %q: %v", price.Currency, ok)
			}
			if got := price.Nanos(tt.prompt, tt.output, tt.thought, tt.cached); got != tt.want {
				t.Errorf("the price is %d, want %d", got, tt.want)
			}
		})
	}
}

func TestPricesOfAModel(t *testing.T) {
	const models = "models: [{model: big, input: 20, output: 0}, {model: models/tiny, input: 0.1, output: 0, cached: 0}]"
	for _, tt := range []struct {
		name, prices, model string
		want                int64 // nanos of one token read; below zero: no price
	}{
		{"without prices", "", "any", -1},
		{"of every model", "prices: {currency: USD, input: 3, output: 0}\n", "any", 3000},
		{"of every other model", "prices: {currency: USD, input: 3, output: 0, " + models + "}\n", "any", 3000},
		{"its own", "prices: {currency: USD, input: 3, output: 0, " + models + "}\n", "big", 20_000},
		{"its own, by the long name", "prices: {currency: USD, " + models + "}\n", "models/big", 20_000},
		{"its own, by the short name", "prices: {currency: USD, " + models + "}\n", "tiny", 100},
		{"only of others", "prices: {currency: USD, " + models + "}\n", "any", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := int64(-1)
			if price, ok := parse(t, minimal+tt.prices).Prices.Of(tt.model); ok {
				got = price.Nanos(1, 0, 0, 0)
			}
			if got != tt.want {
				t.Errorf("one token of %s costs %d, want %d", tt.model, got, tt.want)
			}
		})
	}
}

func TestPricesRefused(t *testing.T) {
	for _, tt := range []struct{ prices, want string }{
		{"{}", "line 10: prices.currency: must be three capital letters, such as USD"},
		{"{currency: usd, input: 1, output: 1}", "prices.currency: must be three capital letters"},
		{"{currency: USD}", "line 10: prices.input: is required: the price of a million tokens, for example 0.30"},
		{"{currency: USD, input: 1}", "prices.output: is required"},
		{"{currency: USD, cached: 1, models: [{model: a, input: 1, output: 1}]}", "prices.input: is required"},
		{"{currency: USD, input: -1, output: 1}", "prices.input: must be the price of a million tokens: digits"},
		{"{currency: USD, input: 1e-3, output: 1}", "prices.input: must be the price"},
		{"{currency: USD, input: 0x10, output: 1}", "prices.input: must be the price"},
		{"{currency: USD, input: .5, output: 1}", "prices.input: must be the price"},
		{"{currency: USD, input: '0,30', output: 1}", "prices.input: must be the price"},
		{"{currency: USD, input: $1, output: 1}", "prices.input: must be the price"},
		{"{currency: USD, input: .nan, output: 1}", "prices.input: must be the price"},
		{"{currency: USD, input: 1, output: 0.0000001}", "prices.output: must be the price"},
		{"{currency: USD, input: 1, output: 1, thought: 1234567890}", "prices.thought: must be the price"},
		{"{currency: USD, input: 1, output: 1, cached: free}", "prices.cached: must be the price"},
		{"{currency: USD, input: 1, output: 1, thoughts: 1}", `prices.thoughts: unknown key; did you mean "thought"?`},
		{"{currency: USD, input: [1], output: 1}", "prices.input: must be a text"},
		{"{currency: USD, models: [{input: 1, output: 1}]}", "prices.models[0].model: is required"},
		{"{currency: USD, models: [{model: a, output: 1}]}", "prices.models[0].input: is required"},
		{"{currency: USD, models: [{model: a, input: 1, output: x}]}", "prices.models[0].output: must be the price"},
		{"{currency: USD, models: [{model: a, input: 1, output: 1}, {model: models/a, input: 1, output: 1}]}", `prices.models[1]: "a" stands in the list twice`},
		{"0.30", "prices: must be a mapping with the keys currency, input, output, thought, cached, models"},
	} {
		if _, err := agent.Parse([]byte(minimal + "prices: " + tt.prices + "\n")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.prices, err, tt.want)
		}
	}
}

// The document's example is a definition.
func TestDocumentedPrices(t *testing.T) {
	document, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?m)^prices: .*\n").Find(document)
	if _, ok := parse(t, minimal+string(found)).Prices.Of("any"); !ok {
		t.Errorf("the document shows no prices: %q", found)
	}
}
