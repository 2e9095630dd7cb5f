package batch_test

import (
	"fmt"
	"testing"

	"errand/shared/batch"
)

func ExampleEstimate_String() {
	fmt.Println(batch.Estimate{Input: 1_234_567})
	fmt.Println(batch.Estimate{Input: 1_234_567, Nanos: 370_370_100, Currency: "USD"})
	// Output:
	// about 1,234,567 tokens of input
	// about 1,234,567 tokens of input, about 0.37 USD
}

// A budget that the input alone passes is told, in the unit of the budget, and only if both are
// known.
func TestWarningOfAnEstimate(t *testing.T) {
	plain := batch.Estimate{Input: 1001}
	priced := batch.Estimate{Input: 1001, Nanos: 2_500_000_000, Currency: "USD"}
	for _, row := range []struct {
		of     batch.Estimate
		budget *batch.Budget
		want   string
	}{
		{priced, nil, ""},
		{plain, &batch.Budget{Tokens: 1001}, ""},
		{plain, &batch.Budget{Tokens: 1000}, "The input alone has about 1,001 tokens, and the budget 1,000: the batch will be paused before it has ended."},
		{plain, &batch.Budget{Price: 0.01, Currency: "USD"}, ""},
		{priced, &batch.Budget{Price: 0.01, Currency: "EUR"}, ""},
		{priced, &batch.Budget{Price: 2.5, Currency: "USD"}, ""},
		{priced, &batch.Budget{Price: 2, Currency: "USD"}, "The input alone costs about 2.50 USD, and the budget is 2.00 USD: the batch will be paused before it has ended."},
		{batch.Estimate{}, &batch.Budget{Tokens: 1}, ""},
	} {
		if got := row.of.Warning(row.budget); got != row.want {
			t.Errorf("%+v with the budget %+v: %q, want %q", row.of, row.budget, got, row.want)
		}
	}
}
