package gemini

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/genai"

	"errand/shared/model"
)

var errMalformed = errors.New("the answer is not what the Gemini API sends")

// Generate streams the answer to req, as [model.Model] says. Finish comes in a
// chunk of its own after the service has ended the stream, so that it really
// is the last: some models name a reason in more than one chunk.
func (m *Model) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		config, err := encode(req)
		if err != nil {
			yield(model.Chunk{}, err)
			return
		}

		ctx, call := withCall(ctx)
		next, stop := iter.Pull2(m.client.Models.GenerateContentStream(ctx, m.name, nil, config))
		defer stop()
		var end model.Chunk

		for {
			resp, err, ok := guardedNext(next)
			if err == nil && !ok {
				err = call.cut
			}

			if err != nil {
				yield(model.Chunk{}, failure(ctx, call, err))
				return
			}

			if !ok {
				break
			}

			chunk := decode(resp, &end)
			if len(chunk.Parts) == 0 && chunk.Usage == (model.Usage{}) {
				continue
			}
			if !yield(chunk, nil) {
				return
			}
		}

		switch {
		case end.Finish != model.FinishNone:
			yield(end, nil)
		case ctx.Err() != nil:
			// A body that is closed because of ctx may look like a complete one.
			yield(model.Chunk{}, ctx.Err())
		}
	}
}

// guardedNext takes the next response. genai's converters assert the types of
// what they read, so an answer of another shape makes them panic.
func guardedNext(next func() (*genai.GenerateContentResponse, error, bool)) (resp *genai.GenerateContentResponse, err error, ok bool) {
	defer func() {
		if recover() != nil {
			resp, err, ok = nil, errMalformed, false
		}
	}()
	return next()
}
