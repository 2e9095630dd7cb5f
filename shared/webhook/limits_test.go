package webhook

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"errand/shared/keys"
	"errand/shared/task"
)

// The numbers in docs/webhooks.md agree with the code.
func TestDocumentedLimits(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}

	var waits []string
	var all time.Duration

	for _, d := range Standard() {
		switch all += d; {
		case d >= time.Hour:
			waits = append(waits, fmt.Sprintf("%.0f h", d.Hours()))
		case d >= time.Minute:
			waits = append(waits, fmt.Sprintf("%.0f m", d.Minutes()))
		default:
			waits = append(waits, fmt.Sprintf("%.0f s", d.Seconds()))
		}
	}

	const day = 24 * time.Hour
	if len(waits) != 10 || all.Round(day) != 3*day || patientFor != time.Minute || keys.JWKSAge != 5*time.Minute {
		t.Errorf("docs/webhooks.md says ten attempts in three days, a minute and five minutes; it is %d in %v, %v and %v", len(waits), all, patientFor, keys.JWKSAge)
	}

	for _, want := range []string{
		"\n" + strings.Join(waits, ", ") + "\n",
		fmt.Sprintf("| body | %d KiB |", maxBody>>10),
		fmt.Sprintf("larger than %d KiB is sent *thin*", maxBody>>10),
		fmt.Sprintf("| webhooks of a task | %d |", task.Defaults().Webhooks),
		fmt.Sprintf("| pings and re-drives of one webhook | one in %.0f s |", task.Webhook{Prompted: time.Unix(1, 0)}.Rest(time.Unix(1, 0)).Seconds()),
		fmt.Sprintf("and %.0f minutes later |", tokenAge.Minutes()),
		fmt.Sprintf("for %d days both sign", keys.Overlap/day),
		fmt.Sprintf("the old line stays for %d days at least", task.Defaults().Retention/day),
		fmt.Sprintf("Tasks are kept for %d days after their end", task.Defaults().Retention/day),
		"`" + keys.Path + "`", "`" + keys.Secret + "`", `{"scheme": "` + basic, `{"scheme": "` + GoogleIDToken, `{"scheme": "` + bearer + `"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/webhooks.md does not say: %s", strings.TrimSpace(want))
		}
	}
}
