package executor

import (
	"context"
	"errors"

	"errand/shared/model"
)

// errFewer says that the counts of a service make no sense.
var errFewer = errors.New("the model counts no more tokens with a text than without")

// Count implements run.Counter. It asks the model for two counts: of an almost empty message, and
// of one that has the texts too.
func (e *Executor) Count(ctx context.Context, texts []string) (each, tokens int64, err error) {
	if each, err = e.count(ctx, nil); err != nil || len(texts) == 0 {
		return each, 0, err
	}
	both, err := e.count(ctx, texts)
	if err == nil && both <= each {
		err = errFewer
	}
	return each, both - each, err
}

// count counts a request whose message has the texts, as it would be sent.
func (e *Executor) count(ctx context.Context, texts []string) (int64, error) {
	parts := []model.Part{{Text: "."}} // services count no request without a text
	for _, t := range texts {
		parts = append(parts, model.Part{Text: t})
	}
	history := []model.Content{{Role: model.RoleUser, Parts: parts}}
	return e.model.Count(ctx, model.Request{System: e.system, History: history, Tools: e.offered})
}

// Price implements run.Counter.
func (e *Executor) Price(tokens int64) (nanos int64, currency string) {
	price, ok := e.prices.Of(e.model.Name())
	if !ok {
		return 0, ""
	}
	return price.Nanos(tokens, 0, 0, 0), price.Currency
}
