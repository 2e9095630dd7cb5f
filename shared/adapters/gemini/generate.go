package gemini

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/genai"

	"errand/shared/model"
)

// How long a service may be silent. Before its first chunk a model may think, for minutes if
// the question is hard; the time is short enough for a second try in a run of 29 min. Once it
// has begun to answer it sends chunks in seconds: a chat service gives its streams 20 s
// (https://github.com/pipecat-ai/pipecat/pull/5249), and streams that stay open without a chunk
// for ever have been seen (https://github.com/openclaw/openclaw/issues/79629).
const (
	silentFirst = 10 * time.Minute
	silentNext  = 2 * time.Minute
)

var errMalformed = errors.New("the answer does not have the form of the Gemini API")

// Generate streams the answer to req, as [model.Model] says. Finish has its own chunk, after
// the service has ended the stream. So it really comes last, although some models name a
// reason in more than one chunk.
func (m *Model) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		config, err := encode(req)
		if err != nil {
			yield(model.Chunk{}, err)
			return
		}

		ctx, silent := context.WithCancelCause(ctx)
		defer silent(nil)
		quiet := time.AfterFunc(m.first, func() { silent(errSilent) })
		defer quiet.Stop()

		ctx, call := withCall(ctx)
		next, stop := iter.Pull2(m.client.Models.GenerateContentStream(ctx, m.name, nil, config))
		defer stop()
		var end model.Chunk

		for {
			resp, err, ok := guardedNext(next)
			quiet.Stop() // the caller may take its time
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
			if (len(chunk.Parts) > 0 || chunk.Usage != model.Usage{}) && !yield(chunk, nil) {
				return
			}
			quiet.Reset(silentNext)
		}

		switch {
		case end.Finish != model.FinishNone:
			yield(end, nil)
		case ctx.Err() != nil:
			// A body that was closed because ctx ended may look complete.
			yield(model.Chunk{}, failure(ctx, call, nil))
		}
	}
}

// guardedNext returns the next response. genai's converters use type assertions, so they
// panic at an answer of another form.
func guardedNext(next func() (*genai.GenerateContentResponse, error, bool)) (resp *genai.GenerateContentResponse, err error, ok bool) {
	defer func() {
		if recover() != nil {
			resp, err, ok = nil, errMalformed, false
		}
	}()
	return next()
}
