package batches

import (
	"encoding/json"
	"time"

	"errand/shared/batch"
	"errand/shared/task"
)

func window(open, ended int) int { return min(max(16, 2*ended), batch.MaxOpen) - open }

func rate(before, after batch.State) float64 {
	if before.At.IsZero() {
		return 0
	}
	d := after.At.Sub(before.At).Seconds()
	if d <= 0 {
		return before.Rate
	}
	now := float64(after.Ended()-before.Ended()) / d
	return before.Rate + (now-before.Rate)*min(1, d/float64(10*time.Second/time.Second))
}

func resultLine(d batch.Dialect, id string, r task.Record) ([]byte, bool) {
	text, _ := json.Marshal(map[string]any{"id": id, "state": r.State(), "artifacts": len(r.Task.Artifacts)})
	return append(text, '\n'), r.State() == "TASK_STATE_COMPLETED"
}

func errorLine(d batch.Dialect, id, code, why string) []byte {
	text, _ := json.Marshal(map[string]any{"id": id, "error": map[string]any{"code": code, "message": why}})
	return append(text, '\n')
}
