package main_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/bus"
)

// The filters of docs/events.md deliver the documented events and no others. The events
// come from the worker's publisher. The server is the one for tests in Google's library,
// which knows the filter language; the emulator accepts any filter and delivers everything.
func TestDocumentedFilters(t *testing.T) {
	t.Parallel()
	ended := []string{"completed/1", "failed/1", "canceled/1", "rejected/1", "billed/1", "billed-failed/1"}

	delivers := map[string][]string{
		`attributes.state = "TASK_STATE_COMPLETED"`: {"completed/1", "billed/1"},
		`attributes.state = "TASK_STATE_COMPLETED" OR attributes.state = "TASK_STATE_FAILED" OR attributes.state = "TASK_STATE_CANCELED" OR attributes.state = "TASK_STATE_REJECTED"`: ended,
		`attributes.state = "TASK_STATE_INPUT_REQUIRED" OR attributes.state = "TASK_STATE_AUTH_REQUIRED"`:                                                                             {"asks/1", "wants/1"},
		`attributes:state AND attributes.state != "TASK_STATE_COMPLETED"`:                                                                                                             {"failed/1", "canceled/1", "rejected/1", "asks/1", "wants/1", "billed-failed/1"},
		`attributes.ce-type = "errand.task.artifact"`:                                                                                                                                 {"made/1", "billed/2"},
		`hasPrefix(attributes.context, "billing-") AND attributes.state = "TASK_STATE_COMPLETED"`:                                                                                     {"billed/1"},
	}

	text, err := os.ReadFile("../events.md")
	if err != nil {
		t.Fatal(err)
	}

	server := pstest.NewServer()
	t.Cleanup(func() { _ = server.Close() })
	p := newTopic(t, server.Addr)
	filters := map[string]string{} // subscriptions by filter

	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]*attributes[^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		filter := m[1]
		if delivers[filter] == nil || len(filter) > 256 {
			t.Errorf("docs/events.md has a filter of %d bytes that is not tested: %s", len(filter), filter)
			continue
		}
		filters[filter] = p.subscribe(fmt.Sprintf("filter-%d", len(filters)), filter)
	}

	if len(filters) != len(delivers) {
		t.Errorf("docs/events.md has %d filters, %d are tested", len(filters), len(delivers))
	}

	billed := func(e bus.Event) bus.Event { e.Context = "billing-7"; return e }
	p.publish(
		state("failed", 1, a2a.TaskStateFailed), state("canceled", 1, a2a.TaskStateCanceled), state("rejected", 1, a2a.TaskStateRejected),
		state("asks", 1, a2a.TaskStateInputRequired), state("wants", 1, a2a.TaskStateAuthRequired), artifact("made", 1),
		state("completed", 1, a2a.TaskStateCompleted),
		billed(state("billed", 1, a2a.TaskStateCompleted)), billed(artifact("billed", 2)), billed(state("billed-failed", 1, a2a.TaskStateFailed)),
	)

	for filter, subscription := range filters {
		if got, want := p.pull(subscription), slices.Sorted(slices.Values(delivers[filter])); !slices.Equal(got, want) {
			t.Errorf("%s delivers %q, want %q", filter, got, want)
		}
	}
}

// pull returns the ids of the events that wait in a subscription.
func (p *topic) pull(subscription string) (ids []string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	resp, err := p.subscriptions().Pull(ctx, &pubsubpb.PullRequest{Subscription: subscription, MaxMessages: 100})
	if err != nil {
		p.t.Fatalf("pulling from %s: %v", subscription, err)
	}
	for _, m := range resp.ReceivedMessages {
		ids = append(ids, m.Message.Attributes["ce-id"])
	}
	slices.Sort(ids)
	return ids
}
